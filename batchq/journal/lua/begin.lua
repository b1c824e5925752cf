-- A step on a batch asks to begin: at most one at a time holds the batch's lease.
-- KEYS: 1 lease, 2 batch hash, 3 open batches
-- ARGV: 1 token, 2 lease in ms, 3 batch id, 4 how often in a row a step may kill its worker,
--       5 how long a batch that is set aside waits to be retried, in ms, 6 why it is set aside
-- Returns: BEGUN, HELD (a step is under way elsewhere), DEAD (it is set aside) or GONE
-- @include "crashes"
-- @include "leases"
-- @include "wakes"
local lease, batch, token = KEYS[1], KEYS[2], ARGV[1]
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
  if count_crash(batch) >= tonumber(ARGV[4]) then
    redis.call("HDEL", batch, "step")
    set_aside(batch, KEYS[3], ARGV[3], ARGV[5], ARGV[6])
    return "DEAD"
  end
end
redis.call("SET", lease, token, "PX", ARGV[2])
redis.call("HSET", batch, "step", token)
return "BEGUN"
