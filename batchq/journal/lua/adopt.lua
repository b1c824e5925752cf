-- A batch of ours that is at the provider and that the journal has lost is written down again. Its
-- lines are noted before, each under what it asks.
-- KEYS: 1 batch hash, 2 open batches, 3 the mark that there is something to reuse, 4 the provider's
--       id of it, where there is one
-- args: batch (its id), keep (time to live in ms), fields
-- Returns: ADOPTED or KNOWN (it has a record)
-- @include "args"
-- @include "expiry"
-- @include "fields"
-- @include "now"
if redis.call("EXISTS", KEYS[1]) == 1 then
  return "KNOWN"
end
local now = now_ms()
write_fields(KEYS[1], args.fields)
keep_for(args.keep, KEYS[1])
redis.call("ZADD", KEYS[2], now, args.batch)
redis.call("SET", KEYS[3], 1, "PX", args.keep)
if KEYS[4] then
  redis.call("SET", KEYS[4], args.batch, "PX", args.keep)
end
return "ADOPTED"
