-- What a run asked goes to the journal and to its lanes, and the run gives up its lease.
-- KEYS: 1 task hash, 2 bodies hash, 3 lease, 4 waiting tasks, 5 resuming tasks, 6 lanes, 7
--       counters, 8 the most rounds of each task name,
--       then for each prompt: its lane, its lane's totals
-- ARGV: 1 token, 2 task id, 3 the task's message, 4 time to live in ms, 5 the number of its next
--       call, 6 its name, 7 the numbers of the answers that its runs have read, 8 which round
--       this is,
--       then for each prompt: number, custom id, lane name, body, JSON record, bytes, tokens,
--       inputs
-- Returns: CAPTURED, ALREADY (this run has written before), LOST (another run took over) or
--          REVOKED (its task was revoked while it ran: nothing is written)
-- @include "expiry"
-- @include "lanes"
-- @include "now"
-- @include "runs"
local task, bodies, lease = KEYS[1], KEYS[2], KEYS[3]
local token, task_id = ARGV[1], ARGV[2]

if not is_current_run(task, token) then
  if redis.call("HGET", task, "captured_by") == token then
    return "ALREADY"
  end
  return "LOST"
end
if redis.call("HGET", task, "revoked") then
  return "REVOKED"
end

-- A key of a wrong type ends this here, before anything is written.
redis.call("HLEN", bodies)
redis.call("ZCARD", KEYS[4])
redis.call("ZCARD", KEYS[5])
redis.call("SCARD", KEYS[6])
for at = 9, #KEYS, 2 do
  redis.call("ZCARD", KEYS[at])
end

local now = now_ms()
local asked = 0
for at = 9, #ARGV, 8 do
  local number, custom_id, lane_name = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local lane, totals = KEYS[9 + 2 * asked], KEYS[10 + 2 * asked]
  redis.call("HSET", bodies, number, ARGV[at + 3])
  redis.call("HSET", task, number .. ":record", ARGV[at + 4], number .. ":at", now,
    number .. ":bytes", ARGV[at + 5],
    number .. ":tokens", ARGV[at + 6], number .. ":inputs", ARGV[at + 7],
    number .. ":attempts", 0, number .. ":place", "lane")
  enter_lane(lane, totals, custom_id, now, ARGV[at + 5], ARGV[at + 6])
  redis.call("SADD", KEYS[6], lane_name)
  asked = asked + 1
end

redis.call("HSET", task, "message", ARGV[3], "calls", ARGV[5], "name", ARGV[6], "waiting", asked,
  "captured_by", token, "read", ARGV[7])
keep_for(ARGV[4], task, bodies)
redis.call("ZADD", KEYS[4], now, task_id)
redis.call("ZREM", KEYS[5], task_id)
redis.pcall("HINCRBY", KEYS[7], "captured", asked)
local round = tonumber(ARGV[8])
if round > 1 then
  local most = redis.pcall("HGET", KEYS[8], ARGV[6])
  if not most or (type(most) == "string" and (tonumber(most) or 0) < round) then
    redis.call("HSET", KEYS[8], ARGV[6], round)
    redis.call("PEXPIRE", KEYS[8], ARGV[4])
  end
end
redis.call("HDEL", task, "run", "sends", "sent_for", "crashes")
redis.call("DEL", lease)
return "CAPTURED"
