-- A task that killed its workers has failed by it. It is kept with its message and its answers,
-- so that it can be retried.
-- KEYS: 1 task hash, 2 bodies hash, 3 lease, 4 resuming tasks, 5 dead tasks
-- args: token, task (its id), state (Celery's), keep (time to live in ms)
-- ARGV: 2 the task's message
-- Returns: BURIED or LOST (another run took over)
-- @include "args"
-- @include "expiry"
-- @include "now"
-- @include "runs"
local task = KEYS[1]
if not is_current_run(task, args.token) then
  return "LOST"
end
local now = now_ms()
redis.call("HDEL", task, "run", "next", "sends", "sent_for")
redis.call("HSET", task, "message", ARGV[2], "done", args.state)
keep_for(args.keep, task, KEYS[2])
redis.call("ZREM", KEYS[4], args.task)
redis.call("ZADD", KEYS[5], now, args.task)
redis.call("DEL", KEYS[3])
return "BURIED"
