-- A task that Celery knows to be final is forgotten, but for the mark that refuses a second
-- delivery. Its prompts leave their lanes.
-- KEYS: 1 task hash, 2 bodies hash, 3 waiting tasks, 4 resuming tasks,
--       then for each of its prompts that may wait in a lane: that lane, the lane's totals
-- ARGV: 1 task id, 2 how long to keep the mark in ms,
--       then for each of those prompts: number, custom id
-- Returns: DROPPED
-- @include "expiry"
-- @include "lanes"
-- @include "marks"
local task = KEYS[1]
local at = 3
for index = 5, #KEYS, 2 do
  local number, custom_id = ARGV[at], ARGV[at + 1]
  local size = redis.call("HMGET", task, number .. ":bytes", number .. ":tokens")
  leave_lane(KEYS[index], KEYS[index + 1], custom_id, size[1], size[2])
  at = at + 2
end
leave_a_mark(task, KEYS[2], "DROPPED")
keep_for(ARGV[2], task)
redis.call("ZREM", KEYS[3], ARGV[1])
redis.call("ZREM", KEYS[4], ARGV[1])
return "DROPPED"
