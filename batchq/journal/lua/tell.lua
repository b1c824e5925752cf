-- A webhook says that a batch is over at its provider: its poll is due now, and once.
-- KEYS: 1 the webhook's own id, 2 batch hash, 3 lease, 4 open batches, 5 the account's last webhook
-- ARGV: 1 batch id, 2 how long the webhook's id is remembered in ms, 3 the chain of polls that is
--       to go on, 4 how long the account's last webhook counts in ms
-- Returns: WOKEN, TOLD (a step is under way and looks again), OVER (that is known already),
--          REPEATED (this webhook came before), DEAD (the batch is set aside) or GONE (it is not at
--          its provider)
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
redis.call("SET", KEYS[1], 1, "PX", ARGV[2])
if over then
  redis.call("SET", KEYS[5], now, "PX", ARGV[4])
  return "OVER"
elseif redis.call("EXISTS", KEYS[3]) == 1 then
  return "TOLD"
end
-- As `wake` does: should the message be lost, rescue sends another.
redis.call("HSET", KEYS[2], "chain", ARGV[3], "wakes", 1, "woken_at", now)
redis.call("ZADD", KEYS[4], now, ARGV[1])
return "WOKEN"
