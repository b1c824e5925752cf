-- A batch is over: it leaves the open ones and stays to be looked at for a while.
-- KEYS: 1 batch hash, 2 batch's prompts, 3 lease, 4 open batches, 5 closed batches
-- ARGV: 1 token, 2 batch id, 3 how long to keep it in ms, then field, value, ...
-- Returns: CLOSED or LOST
if redis.call("GET", KEYS[3]) ~= ARGV[1] then
  return "LOST"
end
local time = redis.call("TIME")
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
for at = 4, #ARGV, 2 do
  redis.call("HSET", KEYS[1], ARGV[at], ARGV[at + 1])
end
redis.call("HSET", KEYS[1], "state", "closed", "closed_at", now)
redis.call("PEXPIRE", KEYS[1], ARGV[3])
redis.call("PEXPIRE", KEYS[2], ARGV[3])
redis.call("ZREM", KEYS[4], ARGV[2])
redis.call("ZADD", KEYS[5], now, ARGV[2])
redis.call("ZREMRANGEBYSCORE", KEYS[5], "-inf", now - ARGV[3])
redis.call("PEXPIRE", KEYS[5], ARGV[3])
redis.call("DEL", KEYS[3])
return "CLOSED"
