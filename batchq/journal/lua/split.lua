-- Prompts of a batch whose validation failed go to a smaller batch, and use up no attempt.
-- KEYS: 1 new batch hash, 2 new batch's prompts, 3 open batches, 4 the parts of the batch that
--       failed first, then the task hash of each prompt
-- args: batch (that failed), part (the new one), lane (its name), origin (the batch that failed
--       first), budget (how many parts may be made of it before one passes validation, and again
--       for each that does), keep (time to live in ms), prompts (custom_id and number of each)
-- Returns: {prompts moved, MOVED, FULL (the new batch is on its way: take another) or SPENT (no
--       more parts may be made)}
-- @include "args"
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
  if tonumber(known[1] or 0) >= args.budget * (1 + tonumber(known[2] or 0)) then
    return { 0, "SPENT" }
  end
end

local here, moved = "batch:" .. args.batch, 0
for at, prompt in ipairs(args.prompts) do
  local task, number = KEYS[4 + at], prompt.number
  local size = redis.call("HMGET", task, number .. ":place", number .. ":bytes",
    number .. ":inputs", number .. ":tokens")
  if size[1] == here then
    sums = { sums[1] + 1, sums[2] + size[2], sums[3] + size[3], sums[4] + size[4] }
    moved = moved + 1
    enter_batch(task, number, prompt.custom_id, args.part, prompts, sums[1])
    keep_for(args.keep, task)
  end
end

if moved > 0 then
  local now = now_ms()
  if not there then
    redis.call("HSET", batch, "lane", args.lane, "state", "sealed", "sealed_at", now,
      "origin", args.origin, "budget", args.budget)
    redis.call("HINCRBY", parts, "made", 1)
    keep_for(args.keep, parts)
  end
  note_filled(batch, KEYS[3], args.part, sums, now)
  keep_for(args.keep, batch, prompts)
end
return { moved, "MOVED" }
