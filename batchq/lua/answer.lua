-- One prompt gets its outcome. The first one wins; with the last one its task may go on.
-- KEYS: 1 task hash, 2 waiting tasks, 3 resuming tasks, 4 counters, 5 lane, 6 lane's totals
-- ARGV: 1 task id, 2 number, 3 custom id, 4 outcome, 5 time to live in ms
-- Returns: ANSWERED (others of this task are still out), READY (the task can be resumed),
--          ALREADY (it had an outcome) or UNKNOWN (nobody asks this)
local task, number = KEYS[1], ARGV[2]
local prompt = redis.call("HMGET", task, number .. ":place", number .. ":bytes",
  number .. ":tokens")
if not prompt[1] then
  return "UNKNOWN"
end
if prompt[1] == "answered" then
  return "ALREADY"
end
if redis.call("ZREM", KEYS[5], ARGV[3]) == 1 then
  -- A late answer for a prompt that had gone back to its lane: it need not be asked again.
  redis.call("HINCRBY", KEYS[6], "bytes", -prompt[2])
  redis.call("HINCRBY", KEYS[6], "tokens", -prompt[3])
  if redis.call("ZCARD", KEYS[5]) == 0 then
    redis.call("DEL", KEYS[6])
  end
end
redis.call("HSET", task, number .. ":outcome", ARGV[4], number .. ":place", "answered")
redis.call("PEXPIRE", task, ARGV[5])
redis.call("HINCRBY", KEYS[4], "answered", 1)
if redis.call("HINCRBY", task, "waiting", -1) > 0 then
  return "ANSWERED"
end
redis.call("ZREM", KEYS[2], ARGV[1])
-- 0: its message is still to be sent.
redis.call("ZADD", KEYS[3], 0, ARGV[1])
return "READY"
