-- What a run asked goes to the journal and to its lanes, and the run gives up its lease.
-- KEYS: 1 task hash, 2 bodies hash, 3 lease, 4 waiting tasks, 5 resuming tasks, 6 lanes,
--       7 counters, 8 the most rounds of each task name, 9 adopted lines,
--       then for each prompt: its lane, its lane's totals; then Celery's state of the task, if that
--       is to be written here
-- args: token, task (its id), keep (time to live in ms), calls (the number of its next call), name,
--       read (the numbers of the answers that its runs have read), round (which this is), prompts
--       (number, custom_id, lane, bytes, tokens and inputs of each), state (if it is written here:
--       its database, where that is another than the journal's, and seconds to live; 0 is for ever)
-- ARGV: 2 the task's message, then for each prompt: its body, its record; then the state
-- Returns: CAPTURED, or ADOPTED where lines of lost batches may ask the same; ALREADY (this run has
--          written before), LOST (another run took over) or REVOKED (its task was revoked while it
--          ran: nothing is written)
-- @include "args"
-- @include "expiry"
-- @include "lanes"
-- @include "now"
-- @include "runs"
-- @include "states"
local task, bodies, lease = KEYS[1], KEYS[2], KEYS[3]
local token = args.token

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
for at = 1, #args.prompts do
  redis.call("ZCARD", KEYS[8 + 2 * at])
end

local now = now_ms()
for at, prompt in ipairs(args.prompts) do
  local number, lane, totals = prompt.number, KEYS[8 + 2 * at], KEYS[9 + 2 * at]
  redis.call("HSET", bodies, number, ARGV[1 + 2 * at])
  redis.call("HSET", task, number .. ":record", ARGV[2 + 2 * at], number .. ":at", now,
    number .. ":bytes", prompt.bytes, number .. ":tokens", prompt.tokens,
    number .. ":inputs", prompt.inputs, number .. ":attempts", 0, number .. ":place", "lane")
  enter_lane(lane, totals, prompt.custom_id, now, prompt.bytes, prompt.tokens)
  redis.call("SADD", KEYS[6], prompt.lane)
end

local asked = #args.prompts
redis.call("HSET", task, "message", ARGV[2], "calls", args.calls, "name", args.name,
  "waiting", asked, "captured_by", token, "read", args.read)
keep_for(args.keep, task, bodies)
redis.call("ZADD", KEYS[4], now, args.task)
redis.call("ZREM", KEYS[5], args.task)
redis.pcall("HINCRBY", KEYS[7], "captured", asked)
if args.round > 1 then
  local most = redis.pcall("HGET", KEYS[8], args.name)
  if not most or (type(most) == "string" and (tonumber(most) or 0) < args.round) then
    redis.call("HSET", KEYS[8], args.name, args.round)
    keep_for(args.keep, KEYS[8])
  end
end
redis.call("HDEL", task, "run", "sends", "sent_for", "crashes")
redis.call("DEL", lease)
local word = redis.call("EXISTS", KEYS[9]) == 1 and "ADOPTED" or "CAPTURED"
if args.state then
  say_state(KEYS[10 + 2 * asked], ARGV[3 + 2 * asked], args.state)
end
return word
