-- A paused account goes on.
-- KEYS: 1 account's pause, 2 a note that it was well
-- args: probe (the small batch that got through; none where somebody says so), keep (how long the
--       note stays, in ms)
-- Returns: {ENDED, since when it was paused} or {GONE, ""} (it is not paused, or that batch was not
--       the one that tried)
-- @include "args"
local known = redis.pcall("HMGET", KEYS[1], "since", "probe")
if known.err or not known[1] or (args.probe and known[2] ~= args.probe) then
  return { "GONE", "" }
end
redis.call("DEL", KEYS[1])
redis.call("SET", KEYS[2], 1, "PX", args.keep)
return { "ENDED", known[1] }
