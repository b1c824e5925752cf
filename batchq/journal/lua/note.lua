-- A run writes down more fields of its journal: a step it ran once, a call it made live.
-- KEYS: 1 task hash
-- args: token, keep (time to live in ms), fields (their names)
-- ARGV: from 2 on the value of each
-- Returns: NOTED or LOST (another run took over)
-- @include "args"
-- @include "expiry"
-- @include "runs"
if not is_current_run(KEYS[1], args.token) then
  return "LOST"
end
for at, name in ipairs(args.fields) do
  redis.call("HSET", KEYS[1], name, ARGV[1 + at])
end
keep_for(args.keep, KEYS[1])
return "NOTED"
