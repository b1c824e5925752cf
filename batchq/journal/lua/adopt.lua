-- A batch of ours that is at the provider and that the journal has lost is written down again. Its
-- lines are noted before, each under what it asks.
-- KEYS: 1 batch hash, 2 open batches, 3 the mark that there is something to reuse, 4 the provider's
--       id of it, where there is one
-- ARGV: 1 batch id, 2 time to live in ms, then field, value, ...
-- Returns: ADOPTED or KNOWN (it has a record)
-- @include "now"
if redis.call("EXISTS", KEYS[1]) == 1 then
  return "KNOWN"
end
local now = now_ms()
for at = 3, #ARGV, 2 do
  redis.call("HSET", KEYS[1], ARGV[at], ARGV[at + 1])
end
redis.call("PEXPIRE", KEYS[1], ARGV[2])
redis.call("ZADD", KEYS[2], now, ARGV[1])
redis.call("SET", KEYS[3], 1, "PX", ARGV[2])
if KEYS[4] then
  redis.call("SET", KEYS[4], ARGV[1], "PX", ARGV[2])
end
return "ADOPTED"
