-- The holder of a lease keeps it a while longer.
-- KEYS: 1 lease, 2 the hash whose field `run` names the rightful holder, if there is one,
--       3 runs of bodies that have renewed a lease, for the lease of one
-- args: token, lease (in ms), run (as it is listed there), keep (time to live in ms)
-- Returns: RENEWED or LOST
-- @include "args"
-- @include "expiry"
-- @include "leases"
-- @include "now"
-- @include "runs"
if KEYS[3] then
  redis.call("ZADD", KEYS[3], "nx", now_ms(), args.run)
  keep_for(args.keep, KEYS[3])
end
if holds(KEYS[1], args.token) then
  keep_for(args.lease, KEYS[1])
  return "RENEWED"
end
if KEYS[2] and not is_taken(KEYS[1], args.token) and is_current_run(KEYS[2], args.token) then
  -- It ran out while its holder could not renew it, and nobody has taken it since.
  redis.call("SET", KEYS[1], args.token, "PX", args.lease)
  return "RENEWED"
end
return "LOST"
