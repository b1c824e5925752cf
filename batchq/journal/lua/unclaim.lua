-- A run that could not begin gives up its claim: what the journal holds is closed to this process.
-- Its task is sent again later, as if its message had just been sent.
-- KEYS: 1 task hash, 2 lease, 3 resuming tasks
-- args: token, task (its id)
-- ARGV: 2 the task's message
-- Returns: UNCLAIMED or LOST (another run took over)
-- @include "args"
-- @include "now"
-- @include "runs"
if not is_current_run(KEYS[1], args.token) then
  return "LOST"
end
local now = now_ms()
-- Without "sends", so that the pause before the next try stays the same.
redis.call("HDEL", KEYS[1], "run", "sends")
redis.call("HSET", KEYS[1], "next", ARGV[2])
redis.call("DEL", KEYS[2])
redis.call("ZADD", KEYS[3], now, args.task)
return "UNCLAIMED"
