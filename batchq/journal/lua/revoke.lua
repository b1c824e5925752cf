-- A task is revoked. One that waits, or is on its way back, is revoked here and now: its prompts
-- leave their lanes, and whoever reads REVOKED is the one to tell Celery. Should that one die
-- before it has, the task stands among the resuming ones, without a lease, until another has.
-- KEYS: 1 task hash, 2 bodies hash, 3 lease, 4 waiting tasks, 5 resuming tasks,
--       then for each prompt that is out: its lane, its lane's totals
-- args: token, lease (in ms), task (its id), mode, keep (time to live in ms), captured_by (the
--       capture that the prompts are of), prompts (number and custom_id of each that is out)
-- ARGV: 2 the task's message, if its delivery is at hand
--   mode now    revoke it
--        next   revoke it; where its message is under way, leave it to its next delivery
--        said   Celery has said so itself: only let go of it, unless a run of it is alive
--        ended  likewise, and its run is dead
-- Returns: {word} or {"REVOKED", the task's message}
--   UNKNOWN  the journal knows nothing of it
--   DONE     it has ended
--   ALREADY  it is revoked, and somebody tells Celery or has done so
--   RUNNING  its body runs, or it is to be tried again: it is revoked when it asks, or is delivered
--            again
--   CHANGED  it has asked something else meanwhile: look again
--   REVOKED  it is revoked
-- @include "args"
-- @include "expiry"
-- @include "lanes"
-- @include "leases"
-- @include "marks"
local task, lease, token, mode = KEYS[1], KEYS[3], args.token, args.mode
local known = redis.call("HMGET", task, "nesting", "retries", "done", "run", "captured_by", "next",
  "message", "waiting")
if not known[1] then
  return { "UNKNOWN" }
end
local message = known[6] or known[7] or ARGV[2]
local holder = redis.call("GET", lease)
local told = mode == "said" or mode == "ended"

if known[3] == "REVOKED" then
  if not known[7] or (holder and not told) then
    return { "ALREADY" }
  end
elseif known[3] and known[3] ~= "RETRY" and not known[6] and not ARGV[2] then
  return { "DONE" }
elseif known[4] and holder and holder ~= token and mode ~= "ended" then
  redis.call("HSET", task, "revoked", 1)
  return { "RUNNING" }
elseif not told and not message then
  redis.call("HSET", task, "revoked", 1)
  return { "RUNNING" }
elseif mode == "next" and tonumber(known[8] or 0) == 0 then
  redis.call("HSET", task, "revoked", 1)
  return { "RUNNING" }
elseif known[5] and known[5] ~= args.captured_by then
  return { "CHANGED" }
end

leave_lanes(task, args.prompts, KEYS, 6)
leave_a_mark(task, KEYS[2], "REVOKED")
redis.call("ZREM", KEYS[4], args.task)
if told then
  redis.call("ZREM", KEYS[5], args.task)
  redis.call("DEL", lease)
else
  redis.call("HSET", task, "message", message)
  redis.call("ZADD", KEYS[5], 0, args.task)
  redis.call("SET", lease, token, "PX", args.lease)
end
keep_for(args.keep, task)
return { "REVOKED", told and "" or message }
