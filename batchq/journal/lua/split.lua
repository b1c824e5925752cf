-- Prompts of a batch whose validation failed go to a smaller batch, and use up no attempt.
-- KEYS: 1 new batch hash, 2 new batch's prompts, 3 open batches, 4 the parts of the batch that
--       failed first, then the task hash of each prompt
-- ARGV: 1 id of the batch that failed, 2 id of the new one, 3 lane name, 4 id of the batch that
--       failed first, 5 how many parts may be made of it before one passes validation, and again
--       for each that does, 6 time to live in ms, then for each prompt: custom id, number
-- Returns: {prompts moved, MOVED, FULL (the new batch is on its way: take another) or SPENT (no
--       more parts may be made)}
-- @include "now"
local batch, prompts, parts = KEYS[1], KEYS[2], KEYS[4]
local under_way = redis.call("HMGET", batch, "state", "upload_intent_at", "lines", "bytes",
  "inputs", "tokens")
if under_way[1] and (under_way[1] ~= "sealed" or tonumber(under_way[2] or 0) > 0) then
  return { 0, "FULL" }
end
if not under_way[1] then
  local known = redis.call("HMGET", parts, "made", "passed")
  if tonumber(known[1] or 0) >= ARGV[5] * (1 + tonumber(known[2] or 0)) then
    return { 0, "SPENT" }
  end
end

local sums = {}
for i = 1, 4 do
  sums[i] = tonumber(under_way[2 + i] or 0)
end
local here, moved = "batch:" .. ARGV[1], 0
for index = 5, #KEYS do
  local custom_id, number = ARGV[7 + 2 * (index - 5)], ARGV[8 + 2 * (index - 5)]
  local size = redis.call("HMGET", KEYS[index], number .. ":place", number .. ":bytes",
    number .. ":inputs", number .. ":tokens")
  if size[1] == here then
    sums = { sums[1] + 1, sums[2] + size[2], sums[3] + size[3], sums[4] + size[4] }
    moved = moved + 1
    redis.call("HSET", KEYS[index], number .. ":place", "batch:" .. ARGV[2])
    redis.call("PEXPIRE", KEYS[index], ARGV[6])
    redis.call("ZADD", prompts, sums[1], custom_id)
  end
end

if moved > 0 then
  local now = now_ms()
  if not under_way[1] then
    redis.call("HSET", batch, "lane", ARGV[3], "state", "sealed", "sealed_at", now,
      "origin", ARGV[4], "budget", ARGV[5])
    redis.call("HINCRBY", parts, "made", 1)
    redis.call("PEXPIRE", parts, ARGV[6])
  end
  redis.call("HSET", batch, "lines", sums[1], "bytes", sums[2], "inputs", sums[3],
    "tokens", sums[4])
  redis.call("PEXPIRE", batch, ARGV[6])
  redis.call("PEXPIRE", prompts, ARGV[6])
  redis.call("ZADD", KEYS[3], now, ARGV[2])
end
return { moved, "MOVED" }
