-- The holder of a lease gives it up.
-- KEYS: 1 lease
-- ARGV: 1 token
-- Returns: RELEASED or LOST
if redis.call("GET", KEYS[1]) ~= ARGV[1] then
  return "LOST"
end
redis.call("DEL", KEYS[1])
return "RELEASED"
