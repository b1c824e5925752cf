-- A run of a task's body asks to begin: at most one run at a time holds the lease.
-- KEYS: 1 task hash, 2 bodies hash, 3 lease, 4 resuming tasks
-- ARGV: 1 token, 2 lease in ms, 3 nesting, 4 retries, 5 time to live in ms, 6 task id
-- Returns: {word} or {"CLAIMED", the task hash as a flat list}
--   BUSY     this run is under way elsewhere
--   ENDING   the run before this one has not given up its lease yet
--   WAITING  the questions of this run are still out
--   DONE     this run, or a later one, has already ended
--   CLAIMED  go on; the hash holds what was asked and answered so far
-- A "run" is told apart by (nesting, retries): self.replace raises the first, a retry the second.
local task, bodies, lease = KEYS[1], KEYS[2], KEYS[3]
local nesting, retries = tonumber(ARGV[3]), tonumber(ARGV[4])

local known = redis.call("HMGET", task, "nesting", "retries", "done", "waiting")
if known[1] then
  local nesting_before, retries_before = tonumber(known[1]), tonumber(known[2])
  if nesting < nesting_before or (nesting == nesting_before and retries < retries_before) then
    return { "DONE" }
  end
  local newer = nesting > nesting_before or retries > retries_before
  local holder = redis.call("GET", lease)
  if holder and holder ~= ARGV[1] then
    return { newer and "ENDING" or "BUSY" }
  end
  if newer and tonumber(known[4] or 0) > 0 then
    -- A body that had asked sent its retry all the same: it waits, and will do so again.
    return { "WAITING" }
  elseif nesting > nesting_before then
    redis.call("DEL", task, bodies)
  elseif retries > retries_before then
    redis.call("HDEL", task, "done", "waiting", "message")
  elseif known[3] then
    redis.call("HDEL", task, "next")
    redis.call("ZREM", KEYS[4], ARGV[6])
    return { "DONE" }
  elseif tonumber(known[4] or 0) > 0 then
    return { "WAITING" }
  end
end

redis.call("SET", lease, ARGV[1], "PX", ARGV[2])
redis.call("HSET", task, "nesting", nesting, "retries", retries, "run", ARGV[1])
redis.call("HDEL", task, "next")
redis.call("PEXPIRE", task, ARGV[5])
return { "CLAIMED", redis.call("HGETALL", task) }
