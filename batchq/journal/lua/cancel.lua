-- An operator asks for the end of a batch: its next step, which is due now, sees to it.
-- KEYS: 1 batch hash, 2 open batches
-- args: batch (its id)
-- Returns: ASKED or OVER (it has ended, or was set aside, or nobody knows it)
-- @include "args"
-- @include "now"
-- @include "wakes"
if not redis.call("ZSCORE", KEYS[2], args.batch) then
  return "OVER"
end
local known = redis.call("HMGET", KEYS[1], "state", "dead_at")
if not known[1] or known[1] == "finished" or known[2] then
  return "OVER"
end
local now = now_ms()
forget_wakes(KEYS[1])
redis.call("HSETNX", KEYS[1], "cancel_at", now)
-- As a webhook does: a poll that is under way looks again at once.
redis.call("HSET", KEYS[1], "told_at", now)
redis.call("ZADD", KEYS[2], now, args.batch)
return "ASKED"
