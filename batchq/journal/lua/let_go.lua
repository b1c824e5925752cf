-- Celery has ended a task by itself, or was told of its revoke: nobody waits for its answers. It is
-- let go of, but for the mark that refuses a second delivery, and its prompts leave their lanes.
-- KEYS: 1 task hash, 2 bodies hash, 3 lease, 4 waiting tasks, 5 resuming tasks,
--       then for each of its prompts that is out: its lane, its lane's totals
-- args: token, task (its id), done (what the mark says), alive (whether a run of it may be: then it
--       ends when that one asks), keep (how long to keep the mark, in ms), captured_by (the capture
--       that the prompts are of), prompts (number and custom_id of each that is out)
-- Returns: {word}: DROPPED, DONE (it had ended), RUNNING (a run of it is alive, and may be) or
--          CHANGED (it has asked something else meanwhile: look again)
-- @include "args"
-- @include "ends"
-- @include "expiry"
-- @include "lanes"
-- @include "marks"
local task, lease = KEYS[1], KEYS[3]
local known = look_at(task)

if has_ended(known) then
  redis.call("ZREM", KEYS[4], args.task)
  redis.call("ZREM", KEYS[5], args.task)
  return { "DONE" }
elseif args.alive and is_running(known, lease, args.token) then
  redis.call("HSET", task, "revoked", 1)
  return { "RUNNING" }
elseif has_asked_on(known, args.captured_by) then
  return { "CHANGED" }
end

leave_lanes(task, args.prompts, KEYS, 6)
leave_a_mark(task, KEYS[2], args.done)
keep_for(args.keep, task)
redis.call("ZREM", KEYS[4], args.task)
redis.call("ZREM", KEYS[5], args.task)
redis.call("DEL", lease)
return { "DROPPED" }
