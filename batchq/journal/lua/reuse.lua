-- A prompt in its lane takes the place of a line of an adopted batch that asks the same: it gets
-- the answer, or waits for it with that batch. Each line serves one prompt.
-- KEYS: 1 task hash, 2 waiting tasks, 3 resuming tasks, 4 counters, 5 lane, 6 lane's totals,
--       7 lanes, 8 the lines that ask this, 9 batch hash, 10 batch's spared answers, 11 the prompts
--       that took the places of its lines, 12 batch's prompts
-- ARGV: 1 task id, 2 number, 3 custom id, 4 lane name, 5 the line, as it stands among those that
--       ask this, 6 batch id, 7 custom id of the line, 8 time to live in ms
-- Returns: READY or ANSWERED (see answer.lua), TAKEN (it waits with the batch), ELSEWHERE (it is
--          not in its lane) or GONE (the line is another's, or will have no answer)
-- @include "now"
local task, number = KEYS[1], ARGV[2]
local prompt = redis.call("HMGET", task, number .. ":place", number .. ":bytes",
  number .. ":tokens")
if prompt[1] ~= "lane" then
  return "ELSEWHERE"
end
local outcome = redis.call("HGET", KEYS[10], ARGV[7])
local batch = redis.call("HMGET", KEYS[9], "state", "shut")
if not outcome and not batch[1] then
  -- Its adoption is not over, or long ago.
  return "GONE"
end
local over = batch[1] == "closed" or batch[2]
if redis.call("SREM", KEYS[8], ARGV[5]) == 0 or (over and not outcome) then
  return "GONE"
end

if redis.call("ZREM", KEYS[5], ARGV[3]) == 1 then
  redis.pcall("HINCRBY", KEYS[6], "bytes", -(tonumber(prompt[2]) or 0))
  redis.pcall("HINCRBY", KEYS[6], "tokens", -(tonumber(prompt[3]) or 0))
  if redis.call("ZCARD", KEYS[5]) == 0 then
    redis.call("DEL", KEYS[6])
    redis.call("SREM", KEYS[7], ARGV[4])
  end
end
redis.call("PEXPIRE", task, ARGV[8])
if not outcome then
  redis.call("HSET", task, number .. ":place", "batch:" .. ARGV[6])
  redis.call("HSET", KEYS[11], ARGV[7], ARGV[3])
  redis.call("PEXPIRE", KEYS[11], ARGV[8])
  redis.call("ZADD", KEYS[12], redis.call("ZCARD", KEYS[12]) + 1, ARGV[3])
  redis.call("PEXPIRE", KEYS[12], ARGV[8])
  return "TAKEN"
end
redis.call("HDEL", KEYS[10], ARGV[7])
redis.call("HSET", task, number .. ":outcome", outcome, number .. ":place", "answered")
redis.pcall("HINCRBY", KEYS[4], "answered", 1)
if redis.call("HINCRBY", task, "waiting", -1) > 0 then
  return "ANSWERED"
end
redis.call("ZREM", KEYS[2], ARGV[1])
-- Below 0: its message is still to be sent, and most likely is in a moment.
local now = now_ms()
redis.call("ZADD", KEYS[3], -now, ARGV[1])
return "READY"
