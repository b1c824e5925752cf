-- A run that could not begin gives up its claim: what the journal holds is closed to this process.
-- Its task is sent again later, as if its message had just been sent.
-- KEYS: 1 task hash, 2 lease, 3 resuming tasks
-- ARGV: 1 token, 2 task id, 3 the task's message
-- Returns: UNCLAIMED or LOST (another run took over)
-- @include "now"
-- @include "runs"
if not is_current_run(KEYS[1], ARGV[1]) then
  return "LOST"
end
local now = now_ms()
-- Without "sends", so that the pause before the next try stays the same.
redis.call("HDEL", KEYS[1], "run", "sends")
redis.call("HSET", KEYS[1], "next", ARGV[3])
redis.call("DEL", KEYS[2])
redis.call("ZADD", KEYS[3], now, ARGV[2])
return "UNCLAIMED"
