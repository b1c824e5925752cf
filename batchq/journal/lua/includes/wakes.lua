-- A step has begun, or is about to: it needs no waking. This is a write that a full Redis takes; it
-- then takes the others too, and what runs gets done.
local function forget_wakes(batch)
  redis.call("HDEL", batch, "wakes", "woken_at")
end
