-- Prompts of a batch that were not answered go back to their lane, in the order in which they
-- were first asked.
-- KEYS: 1 lane, 2 lane's totals, 3 lanes, then the task hash of each prompt
-- ARGV: 1 batch id, 2 lane name, 3 attempts used up (0 or 1), 4 max attempts, 5 time to live in ms,
--       then for each prompt: custom id, number
-- Returns: a word for each prompt: REQUEUED, EXHAUSTED (it has no attempt left: answer it with an
--       error),
--          ELSEWHERE (it is answered, or not in this batch any more)
--          or BROKEN (its task's key is none of ours)
-- @include "lanes"
local lane, totals = KEYS[1], KEYS[2]
local place = "batch:" .. ARGV[1]
local words = {}
for index = 4, #KEYS do
  local task = KEYS[index]
  local custom_id, number = ARGV[6 + 2 * (index - 4)], ARGV[7 + 2 * (index - 4)]
  local prompt = redis.pcall("HMGET", task, number .. ":place", number .. ":attempts",
    number .. ":at", number .. ":bytes", number .. ":tokens", number .. ":from")
  if prompt.err then
    words[#words + 1] = "BROKEN"
  elseif prompt[1] ~= place then
    words[#words + 1] = "ELSEWHERE"
  elseif (tonumber(prompt[2]) or 0) + ARGV[3] >= tonumber(ARGV[4]) then
    words[#words + 1] = "EXHAUSTED"
  else
    -- First a write that a full Redis takes: it then takes the others too.
    redis.call("PEXPIRE", task, ARGV[5])
    redis.pcall("HINCRBY", task, number .. ":attempts", ARGV[3])
    redis.call("HSET", task, number .. ":place", "lane", number .. ":from",
      (prompt[6] and prompt[6] .. " " or "") .. ARGV[1])
    enter_lane(lane, totals, custom_id, tonumber(prompt[3]) or 0, tonumber(prompt[4]) or 0,
      tonumber(prompt[5]) or 0)
    redis.call("SADD", KEYS[3], ARGV[2])
    words[#words + 1] = "REQUEUED"
  end
end
return words
