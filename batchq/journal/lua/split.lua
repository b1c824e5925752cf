-- Prompts of a batch whose validation failed go to a smaller batch, and use up no attempt.
-- KEYS: 1 new batch hash, 2 new batch's prompts, 3 open batches, 4 the parts of the batch that
--       failed first, then the task hash of each prompt
-- ARGV: 1 id of the batch that failed, 2 id of the new one, 3 lane name, 4 id of the batch that
--       failed first, 5 how many parts may be made of it before one passes validation, and again
--       for each that does, 6 time to live in ms, then for each prompt: custom id, number
-- Returns: {prompts moved, MOVED, FULL (the new batch is on its way: take another) or SPENT (no
--       more parts may be made)}
-- @include "expiry"
-- @include "filling"
-- @include "now"
local batch, prompts, parts = KEYS[1], KEYS[2], KEYS[4]
local there, sums = look_into(batch)
if not sums then
  return { 0, "FULL" }
end
if not there then
  local known = redis.call("HMGET", parts, "made", "passed")
  if tonumber(known[1] or 0) >= ARGV[5] * (1 + tonumber(known[2] or 0)) then
    return { 0, "SPENT" }
  end
end

local here, moved = "batch:" .. ARGV[1], 0
for index = 5, #KEYS do
  local custom_id, number = ARGV[7 + 2 * (index - 5)], ARGV[8 + 2 * (index - 5)]
  local size = redis.call("HMGET", KEYS[index], number .. ":place", number .. ":bytes",
    number .. ":inputs", number .. ":tokens")
  if size[1] == here then
    sums = { sums[1] + 1, sums[2] + size[2], sums[3] + size[3], sums[4] + size[4] }
    moved = moved + 1
    enter_batch(KEYS[index], number, custom_id, ARGV[2], prompts, sums[1])
    keep_for(ARGV[6], KEYS[index])
  end
end

if moved > 0 then
  local now = now_ms()
  if not there then
    redis.call("HSET", batch, "lane", ARGV[3], "state", "sealed", "sealed_at", now,
      "origin", ARGV[4], "budget", ARGV[5])
    redis.call("HINCRBY", parts, "made", 1)
    keep_for(ARGV[6], parts)
  end
  note_filled(batch, KEYS[3], ARGV[2], sums, now)
  keep_for(ARGV[6], batch, prompts)
end
return { moved, "MOVED" }
