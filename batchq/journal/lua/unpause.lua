-- A paused account goes on.
-- KEYS: 1 account's pause, 2 a note that it was well
-- ARGV: 1 the small batch that got through, or nothing: somebody says so, 2 how long the note stays
--       in ms
-- Returns: {ENDED, since when it was paused} or {GONE, ""} (it is not paused, or that batch was not
--       the one that tried)
local known = redis.pcall("HMGET", KEYS[1], "since", "probe")
if known.err or not known[1] or (ARGV[1] ~= "" and known[2] ~= ARGV[1]) then
  return { "GONE", "" }
end
redis.call("DEL", KEYS[1])
redis.call("SET", KEYS[2], 1, "PX", ARGV[2])
return { "ENDED", known[1] }
