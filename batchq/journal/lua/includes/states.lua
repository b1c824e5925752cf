-- Celery's state of a task is written and published as its Redis backend does it, unless the task
-- has succeeded by now, or nobody can tell. Nothing fails for want of it. Call it last: what it
-- selects stays so for the rest of the script, and for no longer.
local function say_state(key, text, state)
  if state.database and redis.pcall("SELECT", state.database).err then
    return
  end
  local known = redis.pcall("GET", key)
  if type(known) == "string" then
    local read, before = pcall(cjson.decode, known)
    local said = read and type(before) == "table" and before.status
    if type(said) ~= "string" or said == "SUCCESS" then
      return
    end
  end
  if state.seconds > 0 then
    redis.pcall("SETEX", key, state.seconds, text)
  else
    redis.pcall("SET", key, text)
  end
  redis.pcall("PUBLISH", key, text)
end
