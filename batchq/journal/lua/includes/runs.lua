-- Whether a run is its task's own. Its lease may have run out unnoticed: it is until another run
-- claims the task.
local function is_current_run(task, token)
  return redis.call("HGET", task, "run") == token
end
