-- A run writes down one more field of its journal: a step it ran once, a call it made live.
-- KEYS: 1 task hash
-- ARGV: 1 token, 2 time to live in ms, then field, value, ...
-- Returns: NOTED or LOST (another run took over)
-- @include "runs"
if not is_current_run(KEYS[1], ARGV[1]) then
  return "LOST"
end
for at = 3, #ARGV, 2 do
  redis.call("HSET", KEYS[1], ARGV[at], ARGV[at + 1])
end
redis.call("PEXPIRE", KEYS[1], ARGV[2])
return "NOTED"
