-- A step on a batch could not do its work. After so many in a row, those that died counted with
-- them, the batch is set aside.
-- KEYS: 1 lease, 2 batch hash, 3 open batches
-- ARGV: 1 token, 2 batch id, 3 after how many, 4 how long a batch that is set aside waits for
--       somebody, in ms, 5 why, in words, 6 the same as a code
-- Returns: {FAILED (another step may try), how many in a row}, {DEAD (it is set aside), likewise}
--          or {LOST, 0} (the lease is another's)
-- @include "crashes"
local batch = KEYS[2]
if redis.call("HGET", batch, "step") ~= ARGV[1] then
  return { "LOST", 0 }
end
-- First a write that a full Redis takes: it then takes the others too.
redis.call("HDEL", batch, "step")
redis.call("DEL", KEYS[1])
local times = count_crash(batch)
redis.call("HSET", batch, "note", ARGV[5])
if times < tonumber(ARGV[3]) then
  return { "FAILED", times }
end
redis.call("HSET", batch, "aside", ARGV[6])
set_aside(batch, KEYS[3], ARGV[2], ARGV[4], "set aside: " .. ARGV[5])
return { "DEAD", times }
