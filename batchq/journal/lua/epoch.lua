-- The journal says which one it is. One without a name is new, or has lost all it knew: it gets a
-- name, and one that a process remembers from before is written down beside it.
-- KEYS: 1 the journal's names
-- args: name (should it have none), before (the name that this process remembers, if any)
-- Returns: the hash as a flat list: id is its name, was:<name> when that was found to be lost
-- @include "args"
-- @include "now"
if redis.call("HEXISTS", KEYS[1], "id") == 0 then
  redis.call("HSET", KEYS[1], "id", args.name)
end
if args.before and redis.call("HGET", KEYS[1], "id") ~= args.before then
  local now = now_ms()
  redis.call("HSETNX", KEYS[1], "was:" .. args.before, now)
end
return redis.call("HGETALL", KEYS[1])
