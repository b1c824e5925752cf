-- Time passes at once, in a test. Whatever has a time to live loses as much of it, but for leases:
-- who holds one would have renewed it meanwhile. Beat would have gone on ticking.
-- KEYS: 1 by how much the clock is moved, 2 when beat sent its last tick, then all keys with an end
-- args: by (how many milliseconds)
-- Returns: by how much the clock is moved now, in ms
-- @include "args"
local by = args.by
for at = 3, #KEYS do
  local left = redis.call("PTTL", KEYS[at])
  if left > 0 then
    redis.call("PEXPIRE", KEYS[at], math.max(1, left - by))
  end
end
if redis.call("EXISTS", KEYS[2]) == 1 then
  redis.call("INCRBY", KEYS[2], by)
end
return redis.call("INCRBY", KEYS[1], by)
