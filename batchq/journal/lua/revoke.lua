-- A task is revoked. One that waits, or is on its way back, is revoked here and now: its prompts
-- leave their lanes, and whoever reads REVOKED is the one to tell Celery. Should that one die
-- before it has, the task stands among the resuming ones, without a lease, until another has.
-- KEYS: 1 task hash, 2 bodies hash, 3 lease, 4 waiting tasks, 5 resuming tasks,
--       then for each prompt that is out: its lane, its lane's totals
-- args: token, lease (in ms), task (its id), only_waiting (whether one that is on its way back is
--       left to its delivery), keep (time to live in ms), captured_by (the capture that the prompts
--       are of), prompts (number and custom_id of each that is out)
-- ARGV: 2 the task's message, if its delivery is at hand
-- Returns: {word} or {"REVOKED", the task's message}
--   UNKNOWN  the journal knows nothing of it
--   DONE     it has ended
--   ALREADY  it is revoked, and somebody tells Celery or has done so
--   RUNNING  its body runs, or it is to be tried again: it is revoked when it asks, or is delivered
--            again
--   CHANGED  it has asked something else meanwhile: look again
--   REVOKED  it is revoked
-- @include "args"
-- @include "ends"
-- @include "expiry"
-- @include "lanes"
-- @include "marks"
local task, lease = KEYS[1], KEYS[3]
local known = look_at(task)
local message = known.next or known.message or ARGV[2]
local passes_by = args.only_waiting and known.waiting == 0

if not known.nesting then
  return { "UNKNOWN" }
elseif known.done == "REVOKED" then
  if not known.message or redis.call("EXISTS", lease) == 1 then
    return { "ALREADY" }
  end
elseif has_ended(known) and not ARGV[2] then
  return { "DONE" }
elseif is_running(known, lease, args.token) or passes_by or not message then
  redis.call("HSET", task, "revoked", 1)
  return { "RUNNING" }
elseif has_asked_on(known, args.captured_by) then
  return { "CHANGED" }
end

leave_lanes(task, args.prompts, KEYS, 6)
leave_a_mark(task, KEYS[2], "REVOKED")
redis.call("HSET", task, "message", message)
keep_for(args.keep, task)
redis.call("ZREM", KEYS[4], args.task)
redis.call("ZADD", KEYS[5], 0, args.task)
redis.call("SET", lease, args.token, "PX", args.lease)
return { "REVOKED", message }
