-- The holder of a lease keeps it a while longer.
-- KEYS: 1 lease, 2 the hash whose field `run` names the rightful holder, if there is one
-- ARGV: 1 token, 2 lease in ms
-- Returns: RENEWED or LOST
local holder = redis.call("GET", KEYS[1])
if holder == ARGV[1] then
  redis.call("PEXPIRE", KEYS[1], ARGV[2])
  return "RENEWED"
end
if not holder and KEYS[2] and redis.call("HGET", KEYS[2], "run") == ARGV[1] then
  -- It ran out while its holder could not renew it, and nobody has taken it since.
  redis.call("SET", KEYS[1], ARGV[1], "PX", ARGV[2])
  return "RENEWED"
end
return "LOST"
