-- A batch that is set aside is to be tried again: its next step is due now.
-- KEYS: 1 batch hash, 2 open batches
-- args: batch (its id), ask_again (whether what its files do not say is to be asked again)
-- Returns: REVIVED or ALIVE (it is not set aside)
-- @include "args"
-- @include "now"
if redis.call("HDEL", KEYS[1], "dead_at", "wakes", "woken_at") == 0 then
  return "ALIVE"
end
redis.call("HDEL", KEYS[1], "crashes", "note", "aside", "looks")
if args.ask_again then
  redis.call("HSET", KEYS[1], "ask_again", 1)
end
redis.call("ZADD", KEYS[2], now_ms(), args.batch)
return "REVIVED"
