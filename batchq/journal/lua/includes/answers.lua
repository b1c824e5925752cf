-- @include "now"
-- A prompt of a task has its outcome. With the last one the task may go on. Returns ANSWERED
-- (others are still out) or READY.
local function count_answer(task, task_id, waiting, resuming, counters)
  redis.pcall("HINCRBY", counters, "answered", 1)
  if redis.call("HINCRBY", task, "waiting", -1) > 0 then
    return "ANSWERED"
  end
  redis.call("ZREM", waiting, task_id)
  -- Below 0: its message is still to be sent, and most likely is in a moment.
  local now = now_ms()
  redis.call("ZADD", resuming, -now, task_id)
  return "READY"
end
