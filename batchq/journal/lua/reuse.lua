-- A prompt in its lane takes the place of a line of an adopted batch that asks the same: it gets
-- the answer, or waits for it with that batch. Each line serves one prompt.
-- KEYS: 1 task hash, 2 waiting tasks, 3 resuming tasks, 4 counters, 5 lane, 6 lane's totals,
--       7 lanes, 8 the lines that ask this, 9 batch hash, 10 batch's spared answers, 11 the prompts
--       that took the places of its lines, 12 batch's prompts
-- args: task (its id), number, custom_id, lane (its name), member (the line, as it stands among
--       those that ask this), batch (its id), line (its custom id), keep (time to live in ms)
-- Returns: READY or ANSWERED (see answer.lua), TAKEN (it waits with the batch), ELSEWHERE (it is
--          not in its lane) or GONE (the line is another's, or will have no answer)
-- @include "args"
-- @include "answers"
-- @include "expiry"
-- @include "filling"
-- @include "lanes"
local task, number = KEYS[1], args.number
local prompt = redis.call("HMGET", task, number .. ":place", number .. ":bytes",
  number .. ":tokens")
if prompt[1] ~= "lane" then
  return "ELSEWHERE"
end
local outcome = redis.call("HGET", KEYS[10], args.line)
local batch = redis.call("HMGET", KEYS[9], "state", "shut")
if not outcome and not batch[1] then
  -- Its adoption is not over, or long ago.
  return "GONE"
end
local over = batch[1] == "closed" or batch[2]
if redis.call("SREM", KEYS[8], args.member) == 0 or (over and not outcome) then
  return "GONE"
end

if leave_lane(KEYS[5], KEYS[6], args.custom_id, prompt[2], prompt[3]) then
  redis.call("SREM", KEYS[7], args.lane)
end
keep_for(args.keep, task)
if not outcome then
  redis.call("HSET", KEYS[11], args.line, args.custom_id)
  enter_batch(task, number, args.custom_id, args.batch, KEYS[12],
    redis.call("ZCARD", KEYS[12]) + 1)
  keep_for(args.keep, KEYS[11], KEYS[12])
  return "TAKEN"
end
redis.call("HDEL", KEYS[10], args.line)
redis.call("HSET", task, number .. ":outcome", outcome, number .. ":place", "answered")
return count_answer(task, args.task, KEYS[2], KEYS[3], KEYS[4])
