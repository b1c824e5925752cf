-- Prompts of a batch that were not answered go back to their lane, in the order in which they
-- were first asked.
-- KEYS: 1 lane, 2 lane's totals, 3 lanes, then the task hash of each prompt
-- args: batch (its id), lane (its name), used (attempts, 0 or 1), most (attempts), keep (time to
--       live in ms), prompts (custom_id and number of each)
-- Returns: a word for each prompt: REQUEUED, EXHAUSTED (it has no attempt left: answer it with an
--       error),
--          ELSEWHERE (it is answered, or not in this batch any more)
--          or BROKEN (its task's key is none of ours)
-- @include "args"
-- @include "expiry"
-- @include "lanes"
local lane, totals = KEYS[1], KEYS[2]
local place = "batch:" .. args.batch
local words = {}
for at, asked in ipairs(args.prompts) do
  local task, number = KEYS[3 + at], asked.number
  local prompt = redis.pcall("HMGET", task, number .. ":place", number .. ":attempts",
    number .. ":at", number .. ":bytes", number .. ":tokens", number .. ":from")
  if prompt.err then
    words[#words + 1] = "BROKEN"
  elseif prompt[1] ~= place then
    words[#words + 1] = "ELSEWHERE"
  elseif (tonumber(prompt[2]) or 0) + args.used >= args.most then
    words[#words + 1] = "EXHAUSTED"
  else
    -- First a write that a full Redis takes: it then takes the others too.
    keep_for(args.keep, task)
    redis.pcall("HINCRBY", task, number .. ":attempts", args.used)
    redis.call("HSET", task, number .. ":place", "lane", number .. ":from",
      (prompt[6] and prompt[6] .. " " or "") .. args.batch)
    enter_lane(lane, totals, asked.custom_id, tonumber(prompt[3]) or 0, tonumber(prompt[4]) or 0,
      tonumber(prompt[5]) or 0)
    redis.call("SADD", KEYS[3], args.lane)
    words[#words + 1] = "REQUEUED"
  end
end
return words
