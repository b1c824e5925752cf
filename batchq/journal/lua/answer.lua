-- One prompt gets its outcome. The first one wins; with the last one its task may go on.
-- KEYS: 1 task hash, 2 waiting tasks, 3 resuming tasks, 4 counters, 5 lane, 6 lane's totals
-- ARGV: 1 task id, 2 number, 3 custom id, 4 outcome, 5 time to live in ms, 6 its receipt, 7 the
--       batch that it comes from; none where there was no need of one. Plain, and not by name as
--       elsewhere: it is called for each row of a file, and was 15 % dearer with JSON.
-- Returns: ANSWERED (others of this task are still out), READY (the task can be resumed),
--          ALREADY (it had an outcome), UNKNOWN (nobody asks this, or nobody has asked it in that
--          batch) or BROKEN (its task's key is none of ours)
-- @include "answers"
-- @include "lanes"
local task, number = KEYS[1], ARGV[2]
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
if ARGV[7] ~= "" and prompt[1] ~= "batch:" .. ARGV[7] then
  -- It went back to its lane, or on to a part: an answer that comes late is still its own.
  local before = " " .. (prompt[4] or "") .. " "
  if not before:find(" " .. ARGV[7] .. " ", 1, true) then
    return "UNKNOWN"
  end
end
-- A late answer for a prompt that had gone back to its lane: it need not be asked again.
leave_lane(KEYS[5], KEYS[6], ARGV[3], prompt[2], prompt[3])
redis.call("HSET", task, number .. ":outcome", ARGV[4], number .. ":place", "answered",
  number .. ":receipt", ARGV[6])
redis.call("PEXPIRE", task, ARGV[5])
return count_answer(task, ARGV[1], KEYS[2], KEYS[3], KEYS[4])
