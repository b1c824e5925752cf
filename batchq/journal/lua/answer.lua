-- One prompt gets its outcome. The first one wins; with the last one its task may go on.
-- KEYS: 1 task hash, 2 waiting tasks, 3 resuming tasks, 4 counters, 5 lane, 6 lane's totals
-- ARGV: 1 task id, 2 number, 3 custom id, 4 outcome, 5 time to live in ms, 6 its receipt, 7 the
--       batch that it comes from; none where there was no need of one
-- Returns: ANSWERED (others of this task are still out), READY (the task can be resumed),
--          ALREADY (it had an outcome), UNKNOWN (nobody asks this, or nobody has asked it in that
--          batch) or BROKEN (its task's key is none of ours)
-- @include "now"
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
if redis.call("ZREM", KEYS[5], ARGV[3]) == 1 then
  -- A late answer for a prompt that had gone back to its lane: it need not be asked again.
  redis.pcall("HINCRBY", KEYS[6], "bytes", -(tonumber(prompt[2]) or 0))
  redis.pcall("HINCRBY", KEYS[6], "tokens", -(tonumber(prompt[3]) or 0))
  if redis.call("ZCARD", KEYS[5]) == 0 then
    redis.call("DEL", KEYS[6])
  end
end
redis.call("HSET", task, number .. ":outcome", ARGV[4], number .. ":place", "answered",
  number .. ":receipt", ARGV[6])
redis.call("PEXPIRE", task, ARGV[5])
redis.pcall("HINCRBY", KEYS[4], "answered", 1)
if redis.call("HINCRBY", task, "waiting", -1) > 0 then
  return "ANSWERED"
end
redis.call("ZREM", KEYS[2], ARGV[1])
-- Below 0: its message is still to be sent, and most likely is in a moment.
local now = now_ms()
redis.call("ZADD", KEYS[3], -now, ARGV[1])
return "READY"
