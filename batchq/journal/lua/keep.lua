-- A delivery found the task busy: its message is kept, so that rescue can send it when the other
-- run is gone.
-- KEYS: 1 task hash, 2 resuming tasks
-- args: task (its id)
-- ARGV: 2 the task's message
-- Returns: KEPT or GONE (the other run has ended meanwhile)
-- @include "args"
if redis.call("EXISTS", KEYS[1]) == 0 then
  return "GONE"
end
redis.call("HSET", KEYS[1], "next", ARGV[2])
redis.call("ZADD", KEYS[2], 0, args.task)
return "KEPT"
