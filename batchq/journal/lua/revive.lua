-- A dead task, or a batch that is set aside, is to be tried again.
-- KEYS: 1 task hash or batch hash, 2 dead tasks or open batches, 3 resuming tasks
-- ARGV: 1 the id, 2 what it is: task or batch, 3 time to live in ms, 4 whether what its files do
--       not say is to be asked again (1 or 0)
-- Returns: REVIVED or ALIVE (it is not dead)
-- @include "now"
local now = now_ms()
if ARGV[2] == "batch" then
  if redis.call("HDEL", KEYS[1], "dead_at", "wakes", "woken_at") == 0 then
    return "ALIVE"
  end
  redis.call("HDEL", KEYS[1], "crashes", "note", "aside", "looks")
  if ARGV[4] == "1" then
    redis.call("HSET", KEYS[1], "ask_again", 1)
  end
  redis.call("ZADD", KEYS[2], now, ARGV[1])
  return "REVIVED"
end
if redis.call("ZREM", KEYS[2], ARGV[1]) == 0 or redis.call("EXISTS", KEYS[1]) == 0 then
  return "ALIVE"
end
redis.call("HDEL", KEYS[1], "dead", "crashes", "done")
redis.call("PEXPIRE", KEYS[1], ARGV[3])
-- 0: its message is still to be sent.
redis.call("ZADD", KEYS[3], 0, ARGV[1])
return "REVIVED"
