-- The messages of tasks that may go on were sent just now.
-- KEYS: 1 resuming tasks, then the task hash of each
-- args: tasks (the id of each)
-- Returns: how many of them still have to be taken by a run
-- @include "args"
-- @include "now"
local now = now_ms()
local open = 0
for at, task_id in ipairs(args.tasks) do
  local task = KEYS[1 + at]
  if redis.call("ZSCORE", KEYS[1], task_id) then
    -- First a write that a full Redis takes: it then takes the others too.
    redis.call("ZREM", KEYS[1], task_id)
    redis.call("ZADD", KEYS[1], now, task_id)
    redis.call("HINCRBY", task, "sends", 1)
    local run = redis.call("HGET", task, "run")
    if run then
      -- For this dead run a message is on its way now: it may wait in a long queue.
      redis.call("HSET", task, "sent_for", run)
    end
    open = open + 1
  end
end
return open
