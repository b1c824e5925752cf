-- A batch is over: it leaves the open ones and stays to be looked at for a while. What it brought
-- is added up.
-- KEYS: 1 batch hash, 2 batch's prompts, 3 lease, 4 open batches, 5 closed batches,
--       6 its lane's sums, 7 the day's sums, 8 lanes that have sums
-- args: token, batch (its id), keep (how long, in ms), keep_sums (likewise), lane (its name),
--       fields, tally (what to add up, by name; none where there is nothing)
-- Returns: CLOSED or LOST
-- @include "args"
-- @include "expiry"
-- @include "fields"
-- @include "leases"
-- @include "now"
if not holds(KEYS[3], args.token) then
  return "LOST"
end
local now = now_ms()
-- First a write that a full Redis takes: it then takes the others too, and what runs gets done.
redis.call("ZREM", KEYS[4], args.batch)
write_fields(KEYS[1], args.fields)
redis.call("HSET", KEYS[1], "state", "closed", "closed_at", now)
redis.call("ZADD", KEYS[5], now, args.batch)
redis.call("ZREMRANGEBYSCORE", KEYS[5], "-inf", now - args.keep)
keep_for(args.keep, KEYS[1], KEYS[2], KEYS[5])
if args.tally then
  -- Sums that somebody has spoiled stop no batch.
  for what, number in pairs(args.tally) do
    redis.pcall("HINCRBY", KEYS[6], what, number)
    redis.pcall("HINCRBY", KEYS[7], what, number)
  end
  redis.pcall("ZADD", KEYS[8], now, args.lane)
  redis.pcall("ZREMRANGEBYSCORE", KEYS[8], "-inf", now - args.keep_sums)
  keep_for(args.keep_sums, KEYS[6], KEYS[7], KEYS[8])
end
redis.call("DEL", KEYS[3])
return "CLOSED"
