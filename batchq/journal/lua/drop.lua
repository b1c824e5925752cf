-- A task that Celery knows to be final is forgotten, but for the mark that refuses a second
-- delivery. Its prompts leave their lanes.
-- KEYS: 1 task hash, 2 bodies hash, 3 waiting tasks, 4 resuming tasks,
--       then for each of its prompts that may wait in a lane: that lane, the lane's totals
-- args: task (its id), keep (how long to keep the mark, in ms), prompts (number and custom_id of
--       each of those)
-- Returns: DROPPED
-- @include "args"
-- @include "expiry"
-- @include "lanes"
-- @include "marks"
local task = KEYS[1]
leave_lanes(task, args.prompts, KEYS, 5)
leave_a_mark(task, KEYS[2], "DROPPED")
keep_for(args.keep, task)
redis.call("ZREM", KEYS[3], args.task)
redis.call("ZREM", KEYS[4], args.task)
return "DROPPED"
