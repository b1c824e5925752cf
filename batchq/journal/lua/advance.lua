-- A step on a batch writes down what it did and when the next one is due. Only the holder of the
-- lease may.
-- KEYS: 1 batch hash, 2 lease, 3 open batches, 4 the provider's id of it, once it has one
-- args: token, batch (its id), due (in ms from now), told_at (when a webhook told of the batch, as
--       far as this step knows; none where that is no matter), keep (time to live of 4 in ms),
--       fields
-- Returns: ADVANCED, TOLD (likewise, but a webhook came meanwhile: the next step is due now) or
--          LOST
-- @include "args"
-- @include "fields"
-- @include "leases"
-- @include "now"
-- @include "wakes"
if not holds(KEYS[2], args.token) then
  return "LOST"
end
local now = now_ms()
local known = redis.call("HMGET", KEYS[1], "state", "told_at")
local told = args.told_at and (known[2] or "0") ~= args.told_at
forget_wakes(KEYS[1])
write_fields(KEYS[1], args.fields)
if KEYS[4] then
  redis.call("SET", KEYS[4], args.batch, "PX", args.keep)
end
if redis.call("HGET", KEYS[1], "state") ~= known[1] then
  -- It gets on, so what kills its workers is not this batch.
  redis.call("HDEL", KEYS[1], "crashes")
end
redis.call("ZADD", KEYS[3], now + (told and 0 or args.due), args.batch)
return told and "TOLD" or "ADVANCED"
