-- A prompt in its lane takes the place of a line of an adopted batch that asks the same: it gets
-- the answer, or waits for it with that batch. Each line serves one prompt.
-- KEYS: 1 task hash, 2 waiting tasks, 3 resuming tasks, 4 counters, 5 lane, 6 lane's totals,
--       7 lanes, 8 the lines that ask this, 9 batch hash, 10 batch's spared answers, 11 the prompts
--       that took the places of its lines, 12 batch's prompts
-- ARGV: 1 task id, 2 number, 3 custom id, 4 lane name, 5 the line, as it stands among those that
--       ask this, 6 batch id, 7 custom id of the line, 8 time to live in ms
-- Returns: READY or ANSWERED (see answer.lua), TAKEN (it waits with the batch), ELSEWHERE (it is
--          not in its lane) or GONE (the line is another's, or will have no answer)
-- @include "answers"
-- @include "expiry"
-- @include "filling"
-- @include "lanes"
local task, number = KEYS[1], ARGV[2]
local prompt = redis.call("HMGET", task, number .. ":place", number .. ":bytes",
  number .. ":tokens")
if prompt[1] ~= "lane" then
  return "ELSEWHERE"
end
local outcome = redis.call("HGET", KEYS[10], ARGV[7])
local batch = redis.call("HMGET", KEYS[9], "state", "shut")
if not outcome and not batch[1] then
  -- Its adoption is not over, or long ago.
  return "GONE"
end
local over = batch[1] == "closed" or batch[2]
if redis.call("SREM", KEYS[8], ARGV[5]) == 0 or (over and not outcome) then
  return "GONE"
end

if leave_lane(KEYS[5], KEYS[6], ARGV[3], prompt[2], prompt[3]) then
  redis.call("SREM", KEYS[7], ARGV[4])
end
keep_for(ARGV[8], task)
if not outcome then
  redis.call("HSET", KEYS[11], ARGV[7], ARGV[3])
  enter_batch(task, number, ARGV[3], ARGV[6], KEYS[12], redis.call("ZCARD", KEYS[12]) + 1)
  keep_for(ARGV[8], KEYS[11], KEYS[12])
  return "TAKEN"
end
redis.call("HDEL", KEYS[10], ARGV[7])
redis.call("HSET", task, number .. ":outcome", outcome, number .. ":place", "answered")
return count_answer(task, ARGV[1], KEYS[2], KEYS[3], KEYS[4])
