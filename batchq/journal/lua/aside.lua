-- A step on a batch could not do its work. After so many in a row, those that died counted with
-- them, the batch is set aside.
-- KEYS: 1 lease, 2 batch hash, 3 open batches
-- args: token, batch (its id), after (how many), patience (how long a batch that is set aside waits
--       for somebody, in ms), why (in words), code (the same)
-- Returns: {FAILED (another step may try), how many in a row}, {DEAD (it is set aside), likewise}
--          or {LOST, 0} (the lease is another's)
-- @include "args"
-- @include "crashes"
local batch = KEYS[2]
if redis.call("HGET", batch, "step") ~= args.token then
  return { "LOST", 0 }
end
-- First a write that a full Redis takes: it then takes the others too.
redis.call("HDEL", batch, "step")
redis.call("DEL", KEYS[1])
local times = count_crash(batch)
redis.call("HSET", batch, "note", args.why)
if times < args.after then
  return { "FAILED", times }
end
redis.call("HSET", batch, "aside", args.code)
set_aside(batch, KEYS[3], args.batch, args.patience, "set aside: " .. args.why)
return { "DEAD", times }
