-- A webhook says that a batch is over at its provider: its poll is due now, and once.
-- KEYS: 1 the webhook's own id, 2 batch hash, 3 lease, 4 open batches, 5 the account's last webhook
-- args: batch (its id), remember (how long the webhook's id is, in ms), chain (of polls that is to
--       go on), count (how long the account's last webhook does, in ms)
-- Returns: WOKEN, TOLD (a step is under way and looks again), OVER (that is known already),
--          REPEATED (this webhook came before), DEAD (the batch is set aside) or GONE (it is not at
--          its provider)
-- @include "args"
-- @include "now"
if redis.call("EXISTS", KEYS[1]) == 1 then
  return "REPEATED"
end
local known = redis.call("HMGET", KEYS[2], "state", "dead_at")
local over = known[1] == "finished" or known[1] == "closed"
if not over and known[1] ~= "submitted" then
  return "GONE"
elseif known[2] then
  -- To be due is how rescue sees that nobody has retried it: its prompts would get an error.
  return "DEAD"
end
local now = now_ms()
-- First a write that a full Redis takes: it then takes the others too, and what runs gets done.
redis.call("HDEL", KEYS[2], "told_at")
redis.call("HSET", KEYS[2], "told_at", now)
redis.call("SET", KEYS[1], 1, "PX", args.remember)
if over then
  redis.call("SET", KEYS[5], now, "PX", args.count)
  return "OVER"
elseif redis.call("EXISTS", KEYS[3]) == 1 then
  return "TOLD"
end
-- As `wake` does: should the message be lost, rescue sends another.
redis.call("HSET", KEYS[2], "chain", args.chain, "wakes", 1, "woken_at", now)
redis.call("ZADD", KEYS[4], now, args.batch)
return "WOKEN"
