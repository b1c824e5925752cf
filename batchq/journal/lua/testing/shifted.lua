-- Follows now.lua where a test owns the clock (batchq/journal/clock.py); SHIFT is the key that says
-- by how many milliseconds it was moved.
local unshifted_ms = now_ms
local function now_ms()
  return unshifted_ms() + tonumber(redis.call("GET", SHIFT) or "0")
end
