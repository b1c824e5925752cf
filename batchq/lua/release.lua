-- The holder of a lease gives it up.
-- KEYS: 1 lease, 2 batch hash, where it is the lease of a batch
-- ARGV: 1 token
-- Returns: RELEASED or LOST
if KEYS[2] and redis.call("HGET", KEYS[2], "step") == ARGV[1] then
  -- The step has ended in order, whatever came of it.
  redis.call("HDEL", KEYS[2], "step", "crashes")
end
if redis.call("GET", KEYS[1]) ~= ARGV[1] then
  return "LOST"
end
redis.call("DEL", KEYS[1])
return "RELEASED"
