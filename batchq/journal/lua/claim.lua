-- A run of a task's body asks to begin: at most one run at a time holds the lease.
-- KEYS: 1 task hash, 2 bodies hash, 3 lease, 4 resuming tasks
-- args: token, lease (in ms), nesting, retries, keep (time to live in ms), task (its id),
--       kills (how often a run may die before its task does)
-- Returns: {word} or {"CLAIMED", the task hash as a flat list}
--   BUSY     this run is under way elsewhere
--   ENDING   the run before this one has not given up its lease yet
--   WAITING  the questions of this run are still out
--   DONE     this run, or a later one, has already ended, or the task is revoked
--   REVOKED  the task was revoked while an earlier delivery of it ran: it ends here
--   DEAD     the run is claimed, and is to fail: those before it died, each with its worker
--   CLAIMED  go on; the hash holds what was asked and answered so far
-- A "run" is told apart by (nesting, retries): self.replace raises the first, a retry the second.
-- @include "args"
-- @include "expiry"
-- @include "leases"
local task, bodies, lease = KEYS[1], KEYS[2], KEYS[3]
local nesting, retries = args.nesting, args.retries

local known = redis.call("HMGET", task, "nesting", "retries", "done", "waiting", "run")
if known[1] then
  if known[3] == "REVOKED" then
    return { "DONE" }
  end
  local nesting_before, retries_before = tonumber(known[1]), tonumber(known[2])
  if nesting < nesting_before or (nesting == nesting_before and retries < retries_before) then
    return { "DONE" }
  end
  local newer = nesting > nesting_before or retries > retries_before
  if is_taken(lease, args.token) then
    return { newer and "ENDING" or "BUSY" }
  end
  if newer and tonumber(known[4] or 0) > 0 then
    -- A body that had asked sent its retry all the same: it waits, and will do so again.
    return { "WAITING" }
  elseif (newer or not known[3]) and redis.call("HGET", task, "revoked") then
    return { "REVOKED" }
  elseif nesting > nesting_before then
    -- An id names one question for ever: a file of an earlier batch may still be read.
    local calls = redis.call("HGET", task, "calls")
    redis.call("DEL", task, bodies)
    if calls then
      redis.call("HSET", task, "calls", calls)
    end
  elseif retries > retries_before then
    redis.call("HDEL", task, "done", "waiting", "message")
  elseif known[3] then
    redis.call("HDEL", task, "next")
    redis.call("ZREM", KEYS[4], args.task)
    return { "DONE" }
  elseif tonumber(known[4] or 0) > 0 then
    return { "WAITING" }
  end
  -- A write that a full Redis takes: it then takes the others too. A task that it knows gets done;
  -- a new one is refused below, as a whole.
  redis.call("HDEL", task, "next")
  if known[5] and known[5] ~= args.token and not newer then
    -- The run before this one neither ended nor gave up its lease. It may have been paused for
    -- longer than that: whatever ends in order sets the count back.
    if redis.call("HINCRBY", task, "crashes", 1) >= args.kills then
      redis.call("HSET", task, "dead", 1)
    end
  end
end

redis.call("SET", lease, args.token, "PX", args.lease)
redis.call("HSET", task, "nesting", nesting, "retries", retries, "run", args.token)
keep_for(args.keep, task)
if redis.call("HEXISTS", task, "dead") == 1 then
  return { "DEAD" }
end
return { "CLAIMED", redis.call("HGETALL", task) }
