-- An account can do nothing just now: nothing more is sent of it, but for one small batch each time
-- its pause is over. The pause grows where that batch met the same.
-- KEYS: 1 account's pause
-- args: batch (that met it), lane (its), reason, code, met_in (where it was met), first (pause, in
--       ms), longest, anew (whether others of that batch fared better), keep (time to live in ms)
-- Returns: BEGUN, GROWN (by its small batch) or ALREADY
-- @include "args"
-- @include "expiry"
-- @include "now"
local now = now_ms()
local known = redis.pcall("HMGET", KEYS[1], "tries", "probe")
if known.err then
  -- Somebody else has written there; a pause is more than that.
  redis.call("DEL", KEYS[1])
  known = {}
end
if known[1] and known[2] ~= args.batch then
  return "ALREADY"
end
local tries = args.anew and 1 or (tonumber(known[1]) or 0) + 1
local pause = math.min(args.first * 2 ^ math.min(tries - 1, 30), args.longest)
-- First a write that a full Redis takes: it then takes the others too.
keep_for(args.keep, KEYS[1])
redis.call("HSETNX", KEYS[1], "since", now)
redis.call("HSET", KEYS[1], "reason", args.reason, "code", args.code, "met_in", args.met_in,
  "tries", tries, "until", now + math.floor(pause), "lane", args.lane)
redis.call("HDEL", KEYS[1], "probe")
keep_for(args.keep, KEYS[1])
return known[1] and "GROWN" or "BEGUN"
