-- @include "now"
-- A step on a batch came to nothing, one more in a row. Returns how many there were by now.
local function count_crash(batch)
  return redis.call("HINCRBY", batch, "crashes", 1)
end

-- A batch waits for somebody who retries it, for so many milliseconds at the most.
local function set_aside(batch, open_batches, batch_id, patience, why)
  local now = now_ms()
  redis.call("HSET", batch, "dead_at", now, "note", why)
  redis.call("ZADD", open_batches, now + patience, batch_id)
end
