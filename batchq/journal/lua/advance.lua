-- A step on a batch writes down what it did and when the next one is due. Only the holder of the
-- lease may.
-- KEYS: 1 batch hash, 2 lease, 3 open batches, 4 the provider's id of it, once it has one
-- ARGV: 1 token, 2 batch id, 3 due in ms from now, 4 when a webhook told of the batch, as far as
--       this step knows (or nothing, where that is no matter), 5 time to live of 4 in ms, then
--       field, value, ...
-- Returns: ADVANCED, TOLD (likewise, but a webhook came meanwhile: the next step is due now) or
--          LOST
-- @include "leases"
-- @include "now"
-- @include "wakes"
if not holds(KEYS[2], ARGV[1]) then
  return "LOST"
end
local now = now_ms()
local known = redis.call("HMGET", KEYS[1], "state", "told_at")
local told = ARGV[4] ~= "" and (known[2] or "0") ~= ARGV[4]
forget_wakes(KEYS[1])
for at = 6, #ARGV, 2 do
  redis.call("HSET", KEYS[1], ARGV[at], ARGV[at + 1])
end
if KEYS[4] then
  redis.call("SET", KEYS[4], ARGV[2], "PX", ARGV[5])
end
if redis.call("HGET", KEYS[1], "state") ~= known[1] then
  -- It gets on, so what kills its workers is not this batch.
  redis.call("HDEL", KEYS[1], "crashes")
end
redis.call("ZADD", KEYS[3], now + (told and 0 or ARGV[3]), ARGV[2])
return told and "TOLD" or "ADVANCED"
