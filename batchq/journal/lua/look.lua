-- Looks at tasks that may go on, and changes nothing.
-- KEYS: for each task its lease and its hash
-- Returns: JSON, for each of them whether a run holds it; whether the run before has died and
-- its message was not sent for that yet; how often it was sent; whether it is revoked, and Celery
-- may not know that. Or, of a foreign key, the error.
local looks = {}
for at = 1, #KEYS, 2 do
  local known = redis.pcall("HMGET", KEYS[at + 1], "run", "sends", "sent_for", "done", "revoked")
  if known.err then
    looks[#looks + 1] = known.err
  else
    local run, sends, sent_for, done, revoked = unpack(known)
    local untold = done == "REVOKED" and redis.call("HEXISTS", KEYS[at + 1], "message") == 1
    looks[#looks + 1] = {
      redis.call("EXISTS", KEYS[at]) == 1,
      run and run ~= sent_for,
      tonumber(sends) or 0,
      untold or (revoked and revoked ~= ""),
    }
  end
end
return cjson.encode(looks)
