-- A dead task, or a batch that is set aside, is to be tried again.
-- KEYS: 1 task hash or batch hash, 2 dead tasks or open batches, 3 resuming tasks
-- args: id, kind (what it is: task or batch), keep (time to live in ms), ask_again (whether what
--       its files do not say is)
-- Returns: REVIVED or ALIVE (it is not dead)
-- @include "args"
-- @include "expiry"
-- @include "now"
local now = now_ms()
if args.kind == "batch" then
  if redis.call("HDEL", KEYS[1], "dead_at", "wakes", "woken_at") == 0 then
    return "ALIVE"
  end
  redis.call("HDEL", KEYS[1], "crashes", "note", "aside", "looks")
  if args.ask_again then
    redis.call("HSET", KEYS[1], "ask_again", 1)
  end
  redis.call("ZADD", KEYS[2], now, args.id)
  return "REVIVED"
end
if redis.call("ZREM", KEYS[2], args.id) == 0 or redis.call("EXISTS", KEYS[1]) == 0 then
  return "ALIVE"
end
redis.call("HDEL", KEYS[1], "dead", "crashes", "done")
keep_for(args.keep, KEYS[1])
-- 0: its message is still to be sent.
redis.call("ZADD", KEYS[3], 0, args.id)
return "REVIVED"
