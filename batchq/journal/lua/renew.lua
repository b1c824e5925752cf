-- The holder of a lease keeps it a while longer.
-- KEYS: 1 lease, 2 the hash whose field `run` names the rightful holder, if there is one,
--       3 runs of bodies that have renewed a lease, for the lease of one
-- ARGV: 1 token, 2 lease in ms, 3 the run, as it is listed there, 4 time to live in ms
-- Returns: RENEWED or LOST
-- @include "leases"
-- @include "now"
-- @include "runs"
if KEYS[3] then
  redis.call("ZADD", KEYS[3], "nx", now_ms(), ARGV[3])
  redis.call("PEXPIRE", KEYS[3], ARGV[4])
end
if holds(KEYS[1], ARGV[1]) then
  redis.call("PEXPIRE", KEYS[1], ARGV[2])
  return "RENEWED"
end
if KEYS[2] and not is_taken(KEYS[1], ARGV[1]) and is_current_run(KEYS[2], ARGV[1]) then
  -- It ran out while its holder could not renew it, and nobody has taken it since.
  redis.call("SET", KEYS[1], ARGV[1], "PX", ARGV[2])
  return "RENEWED"
end
return "LOST"
