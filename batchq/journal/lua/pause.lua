-- An account can do nothing just now: nothing more is sent of it, but for one small batch each time
-- its pause is over. The pause grows where that batch met the same.
-- KEYS: 1 account's pause
-- ARGV: 1 the batch that met it, 2 its lane, 3 reason, 4 code, 5 where it was met, 6 the first
--       pause in ms, 7 the longest, 8 whether others of that batch fared better (1 or 0), 9 time to
--       live in ms
-- Returns: BEGUN, GROWN (by its small batch) or ALREADY
-- @include "now"
local now = now_ms()
local known = redis.pcall("HMGET", KEYS[1], "tries", "probe")
if known.err then
  -- Somebody else has written there; a pause is more than that.
  redis.call("DEL", KEYS[1])
  known = {}
end
if known[1] and known[2] ~= ARGV[1] then
  return "ALREADY"
end
local tries = ARGV[8] == "1" and 1 or (tonumber(known[1]) or 0) + 1
local pause = math.min(ARGV[6] * 2 ^ math.min(tries - 1, 30), tonumber(ARGV[7]))
-- First a write that a full Redis takes: it then takes the others too.
redis.call("PEXPIRE", KEYS[1], ARGV[9])
redis.call("HSETNX", KEYS[1], "since", now)
redis.call("HSET", KEYS[1], "reason", ARGV[3], "code", ARGV[4], "met_in", ARGV[5], "tries", tries,
  "until", now + math.floor(pause), "lane", ARGV[2])
redis.call("HDEL", KEYS[1], "probe")
redis.call("PEXPIRE", KEYS[1], ARGV[9])
return known[1] and "GROWN" or "BEGUN"
