-- Rescue asks whether the late step of a batch is to be woken: not while one is under way, and
-- not at every tick, for its message may wait in a long queue.
-- KEYS: 1 batch hash, 2 lease, 3 open batches
-- args: batch (its id), first (the pause after the first message, in ms; it doubles with each),
--       longest (pause, in ms), chain (of polls that is to go on, if any)
-- Returns: WOKEN, HELD (a step is under way), SENT (its message was sent not long ago) or GONE
-- @include "args"
-- @include "now"
if redis.call("EXISTS", KEYS[2]) == 1 then
  return "HELD"
end
if not redis.call("ZSCORE", KEYS[3], args.batch) then
  return "GONE"
end
local now = now_ms()
local known = redis.call("HMGET", KEYS[1], "wakes", "woken_at")
local wakes = tonumber(known[1] or 0)
local pause = math.min(args.first * 2 ^ math.min(math.max(wakes - 1, 0), 20), args.longest)
if wakes > 0 and now - known[2] < pause then
  return "SENT"
end
redis.call("HSET", KEYS[1], "wakes", wakes + 1, "woken_at", now)
if args.chain then
  redis.call("HSET", KEYS[1], "chain", args.chain)
end
return "WOKEN"
