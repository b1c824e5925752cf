-- The holder of a lease gives it up.
-- KEYS: 1 lease, 2 batch hash, where it is the lease of a batch
-- args: token
-- Returns: RELEASED or LOST
-- @include "args"
-- @include "leases"
if KEYS[2] then
  local known = redis.call("HMGET", KEYS[2], "step", "state", "create_intent_at")
  if known[1] == args.token then
    -- The step has ended in order, whatever came of it. Only while a batch is looked for that may
    -- have been created, nothing has got on: the next to die or to fail is the next in a row.
    redis.call("HDEL", KEYS[2], "step")
    if known[2] ~= "uploaded" or (tonumber(known[3]) or 0) == 0 then
      redis.call("HDEL", KEYS[2], "crashes")
    end
  end
end
if not holds(KEYS[1], args.token) then
  return "LOST"
end
redis.call("DEL", KEYS[1])
return "RELEASED"
