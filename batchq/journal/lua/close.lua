-- A batch is over: it leaves the open ones and stays to be looked at for a while. What it brought
-- is added up.
-- KEYS: 1 batch hash, 2 batch's prompts, 3 lease, 4 open batches, 5 closed batches,
--       6 its lane's sums, 7 the day's sums, 8 lanes that have sums
-- ARGV: 1 token, 2 batch id, 3 how long to keep it in ms, 4 how long to keep sums in ms,
--       5 lane name, 6 how many arguments its fields are, then field, value, ...,
--       then what to add up: name, number, ...
-- Returns: CLOSED or LOST
-- @include "expiry"
-- @include "leases"
-- @include "now"
if not holds(KEYS[3], ARGV[1]) then
  return "LOST"
end
local now = now_ms()
-- First a write that a full Redis takes: it then takes the others too, and what runs gets done.
redis.call("ZREM", KEYS[4], ARGV[2])
local sums = 7 + tonumber(ARGV[6])
for at = 7, sums - 1, 2 do
  redis.call("HSET", KEYS[1], ARGV[at], ARGV[at + 1])
end
redis.call("HSET", KEYS[1], "state", "closed", "closed_at", now)
redis.call("ZADD", KEYS[5], now, ARGV[2])
redis.call("ZREMRANGEBYSCORE", KEYS[5], "-inf", now - ARGV[3])
keep_for(ARGV[3], KEYS[1], KEYS[2], KEYS[5])
if #ARGV > sums then
  -- Sums that somebody has spoiled stop no batch.
  for at = sums, #ARGV, 2 do
    redis.pcall("HINCRBY", KEYS[6], ARGV[at], ARGV[at + 1])
    redis.pcall("HINCRBY", KEYS[7], ARGV[at], ARGV[at + 1])
  end
  redis.pcall("ZADD", KEYS[8], now, ARGV[5])
  redis.pcall("ZREMRANGEBYSCORE", KEYS[8], "-inf", now - ARGV[4])
  keep_for(ARGV[4], KEYS[6], KEYS[7], KEYS[8])
end
redis.call("DEL", KEYS[3])
return "CLOSED"
