-- A step on a batch asks to begin: at most one at a time holds the batch's lease.
-- KEYS: 1 lease, 2 batch hash, 3 open batches
-- args: token, lease (in ms), batch (its id), kills (how often in a row a step may kill its
--       worker), patience (how long a batch that is set aside waits to be retried, in ms), why (it
--       is set aside)
-- Returns: BEGUN, HELD (a step is under way elsewhere), DEAD (it is set aside) or GONE
-- @include "args"
-- @include "crashes"
-- @include "leases"
-- @include "wakes"
local lease, batch, token = KEYS[1], KEYS[2], args.token
if is_taken(lease, token) then
  return "HELD"
end
local known = redis.call("HMGET", batch, "state", "step", "dead_at")
if not known[1] then
  return "GONE"
elseif known[3] then
  return "DEAD"
end
forget_wakes(batch)
if known[2] and known[2] ~= token then
  -- The step before this one neither ended nor gave up its lease: its worker is gone.
  if count_crash(batch) >= args.kills then
    redis.call("HDEL", batch, "step")
    set_aside(batch, KEYS[3], args.batch, args.patience, args.why)
    return "DEAD"
  end
end
redis.call("SET", lease, token, "PX", args.lease)
redis.call("HSET", batch, "step", token)
return "BEGUN"
