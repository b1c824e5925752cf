-- A task that killed its workers has failed by it. It is kept with its message and its answers,
-- so that it can be retried.
-- KEYS: 1 task hash, 2 bodies hash, 3 lease, 4 resuming tasks, 5 dead tasks
-- ARGV: 1 token, 2 task id, 3 the task's message, 4 Celery's state, 5 time to live in ms
-- Returns: BURIED or LOST (another run took over)
-- @include "expiry"
-- @include "now"
-- @include "runs"
local task = KEYS[1]
if not is_current_run(task, ARGV[1]) then
  return "LOST"
end
local now = now_ms()
redis.call("HDEL", task, "run", "next", "sends", "sent_for")
redis.call("HSET", task, "message", ARGV[3], "done", ARGV[4])
keep_for(ARGV[5], task, KEYS[2])
redis.call("ZREM", KEYS[4], ARGV[2])
redis.call("ZADD", KEYS[5], now, ARGV[2])
redis.call("DEL", KEYS[3])
return "BURIED"
