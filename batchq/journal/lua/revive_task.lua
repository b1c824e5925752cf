-- A dead task is to be tried again, with its message and its answers.
-- KEYS: 1 task hash, 2 dead tasks, 3 resuming tasks
-- args: task (its id), keep (time to live in ms)
-- Returns: REVIVED or ALIVE (it is not dead)
-- @include "args"
-- @include "expiry"
if redis.call("ZREM", KEYS[2], args.task) == 0 or redis.call("EXISTS", KEYS[1]) == 0 then
  return "ALIVE"
end
redis.call("HDEL", KEYS[1], "dead", "crashes", "done")
keep_for(args.keep, KEYS[1])
-- 0: its message is still to be sent.
redis.call("ZADD", KEYS[3], 0, args.task)
return "REVIVED"
