-- Prompts get their outcomes. The first one wins; with the last one its task may go on.
-- KEYS: 1 waiting tasks, 2 resuming tasks, 3 counters, 4 lane, 5 lane's totals,
--       then the task hash of each prompt
-- ARGV: 1 time to live in ms, 2 the batch that they come from; none where there was no need of one,
--       then for each prompt: its custom id, its outcome, its receipt. Plain, and not by name as
--       elsewhere: it is called for each row of a file, and was 15 % dearer with JSON.
-- Returns: {a word for each, the first error (empty where there is none), then for each that is
--          READY: the message of its task}
--   ANSWERED  others of this task are still out
--   READY     its task can be resumed
--   ALREADY   it had an outcome
--   UNKNOWN   nobody asks this, or nobody has asked it in that batch
--   BROKEN    its task's key is none of ours
--   FAILED    it is not known how far it came: the error says why
-- @include "answers"
-- @include "ids"
-- @include "lanes"
local waiting, resuming, counters, lane, totals = unpack(KEYS, 1, 5)
local ttl, batch = ARGV[1], ARGV[2]

local function answer(task, custom_id, outcome, receipt)
  local task_id, number = parts_of(custom_id)
  local prompt = redis.pcall("HMGET", task, number .. ":place", number .. ":bytes",
    number .. ":tokens", number .. ":from")
  if prompt.err then
    return "BROKEN"
  end
  if not prompt[1] then
    return "UNKNOWN"
  end
  if prompt[1] == "answered" then
    return "ALREADY"
  end
  if batch ~= "" and prompt[1] ~= "batch:" .. batch then
    -- It went back to its lane, or on to a part: an answer that comes late is still its own.
    local before = " " .. (prompt[4] or "") .. " "
    if not before:find(" " .. batch .. " ", 1, true) then
      return "UNKNOWN"
    end
  end
  -- A late answer for a prompt that had gone back to its lane: it need not be asked again.
  leave_lane(lane, totals, custom_id, prompt[2], prompt[3])
  redis.call("HSET", task, number .. ":outcome", outcome, number .. ":place", "answered",
    number .. ":receipt", receipt)
  redis.call("PEXPIRE", task, ttl)
  return count_answer(task, task_id, waiting, resuming, counters)
end

local words, replies = {}, { "", "" }
for at = 6, #KEYS do
  local task, first = KEYS[at], 3 * (at - 5)
  -- One that cannot be answered keeps none of those behind it from their answers.
  local done, word = pcall(answer, task, ARGV[first], ARGV[first + 1], ARGV[first + 2])
  if not done then
    replies[2] = replies[2] == "" and { err = word.err or tostring(word) } or replies[2]
    word = "FAILED"
  elseif word == "READY" then
    local kept = redis.call("HMGET", task, "next", "message")
    replies[#replies + 1] = kept[1] or kept[2] or ""
  end
  words[#words + 1] = word
end
replies[1] = table.concat(words, " ")
return replies
