-- @include "leases"
-- What is known of a task that is to end outside of its runs.
local function look_at(task)
  local known = redis.call("HMGET", task, "nesting", "done", "run", "captured_by", "next",
    "message", "waiting")
  return {
    nesting = known[1], done = known[2], run = known[3], captured_by = known[4], next = known[5],
    message = known[6], waiting = tonumber(known[7] or 0),
  }
end

-- Whether it has ended: no delivery of it is to come, and no revoke of it is to be told.
local function has_ended(known)
  local untold = known.done == "REVOKED" and known.message
  return known.done and known.done ~= "RETRY" and not known.next and not untold
end

-- Whether another run of it is alive than the one that asks, if one does.
local function is_running(known, lease, token)
  return known.run and is_taken(lease, token)
end

-- Whether it has asked something since somebody looked which of its prompts are out.
local function has_asked_on(known, captured_by)
  return known.captured_by and known.captured_by ~= captured_by
end
