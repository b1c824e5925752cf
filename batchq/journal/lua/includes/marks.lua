-- Of a task that has ended only a mark stays, which refuses a second delivery of that run. The
-- number of the next call stays with it: no later run asks under the id of an earlier one.
local function leave_a_mark(task, bodies, done)
  local run = redis.call("HMGET", task, "nesting", "retries", "calls")
  redis.call("DEL", task, bodies)
  if run[1] then
    redis.call("HSET", task, "nesting", run[1], "retries", run[2], "done", done,
      "calls", run[3] or 0)
  end
end
