-- A small batch is to try whether a paused account can go on: one at a time, after its pause.
-- KEYS: 1 account's pause, 2 batch hash of the last small batch (or of this one, where none was)
-- args: batch (that is to be sealed), last (the last small batch, or nothing)
-- Returns: TAKEN, EARLY (the pause is not over), OUT (another is on its way) or GONE (not paused)
-- @include "args"
-- @include "now"
local known = redis.pcall("HMGET", KEYS[1], "until", "probe")
if known.err or not known[1] then
  return "GONE"
end
if now_ms() < (tonumber(known[1]) or 0) then
  return "EARLY"
end
local last = known[2] or ""
if last ~= args.last then
  return "OUT"
end
local batch = last ~= "" and redis.call("HMGET", KEYS[2], "state", "dead_at") or {}
if batch[1] and batch[1] ~= "closed" and not batch[2] then
  return "OUT"
end
-- Should we die before it is sealed, the next one finds no batch of that id.
redis.call("HDEL", KEYS[1], "probe")
redis.call("HSET", KEYS[1], "probe", args.batch)
return "TAKEN"
