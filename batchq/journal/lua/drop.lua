-- A task that Celery knows to be final is forgotten, but for the mark that refuses a second
-- delivery. Its prompts leave their lanes.
-- KEYS: 1 task hash, 2 bodies hash, 3 waiting tasks, 4 resuming tasks,
--       then for each of its prompts that may wait in a lane: that lane, the lane's totals
-- ARGV: 1 task id, 2 how long to keep the mark in ms,
--       then for each of those prompts: number, custom id
-- Returns: DROPPED
local task = KEYS[1]
local at = 3
for index = 5, #KEYS, 2 do
  local number, custom_id = ARGV[at], ARGV[at + 1]
  local size = redis.call("HMGET", task, number .. ":bytes", number .. ":tokens")
  if redis.call("ZREM", KEYS[index], custom_id) == 1 then
    redis.pcall("HINCRBY", KEYS[index + 1], "bytes", -(tonumber(size[1]) or 0))
    redis.pcall("HINCRBY", KEYS[index + 1], "tokens", -(tonumber(size[2]) or 0))
    if redis.call("ZCARD", KEYS[index]) == 0 then
      redis.call("DEL", KEYS[index + 1])
    end
  end
  at = at + 2
end
local run = redis.call("HMGET", task, "nesting", "retries", "calls")
redis.call("DEL", task, KEYS[2])
if run[1] then
  redis.call("HSET", task, "nesting", run[1], "retries", run[2], "done", "DROPPED",
    "calls", run[3] or 0)
  redis.call("PEXPIRE", task, ARGV[2])
end
redis.call("ZREM", KEYS[3], ARGV[1])
redis.call("ZREM", KEYS[4], ARGV[1])
return "DROPPED"
