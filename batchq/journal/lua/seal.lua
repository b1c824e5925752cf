-- Prompts leave their lane for a batch, in order, as far as the batch's limits allow.
-- KEYS: 1 lane, 2 lane's totals, 3 lanes, 4 batch hash, 5 batch's prompts, 6 open batches,
--       7 the journal's names, then the task hash of each candidate
-- args: batch (its id), lane (its name), limits (lines, bytes, inputs, tokens), keep (time to live
--       in ms), alone (whether nothing else is queued), epoch (the journal's name), prompts
--       (the custom id of each candidate)
-- Returns: {prompts moved, FULL or MORE, the custom ids of candidates that are damaged}
-- @include "args"
-- @include "expiry"
-- @include "filling"
-- @include "ids"
-- @include "lanes"
-- @include "now"
if redis.call("HGET", KEYS[7], "id") ~= args.epoch then
  -- It was emptied a moment ago: first the provider is looked through for what is lost.
  return { 0, "FULL", {} }
end
local lane, totals, batch, prompts = KEYS[1], KEYS[2], KEYS[4], KEYS[5]
local _, sums = look_into(batch)
if not sums then
  return { 0, "FULL", {} }
end

local now = now_ms()
local moved, word, damaged = 0, "MORE", {}

-- A prompt whose size is not known any more takes an equal share of the totals with it; else the
-- lane would look larger than it is until it was empty, and be flushed too early.
local function leave_with_a_share(custom_id)
  local left = redis.call("ZCARD", lane)
  for _, what in ipairs({ "bytes", "tokens" }) do
    local total = redis.pcall("HGET", totals, what)
    local share = type(total) == "string" and math.floor((tonumber(total) or 0) / left) or 0
    redis.pcall("HINCRBY", totals, what, -share)
  end
  redis.call("ZREM", lane, custom_id)
end

for at, custom_id in ipairs(args.prompts) do
  local task, _, number = KEYS[7 + at], parts_of(custom_id)
  if redis.call("ZSCORE", lane, custom_id) then
    local size = redis.pcall("HMGET", task, number .. ":bytes", number .. ":inputs",
      number .. ":tokens", number .. ":place")
    local bytes, inputs, tokens = tonumber(size[1]), tonumber(size[2]), tonumber(size[3])
    if size.err or size[1] and not (bytes and inputs and tokens) then
      -- Somebody else has written there. In the middle of a batch is no place to fail.
      leave_with_a_share(custom_id)
      damaged[#damaged + 1] = custom_id
    elseif not size[1] then
      -- The journal is gone (its task was forgotten): nobody waits for this answer.
      leave_with_a_share(custom_id)
    elseif size[4] ~= "lane" then
      -- It was answered behind this lane's back: what has an outcome is not asked again.
      take_from_lane(lane, totals, custom_id, bytes, tokens)
    else
      local next_sums = { sums[1] + 1, sums[2] + bytes, sums[3] + inputs, sums[4] + tokens }
      local fits = true
      for i = 1, 4 do
        -- The first prompt of a batch goes: what can never fit was refused at capture. With
        -- tokens only if nothing else is queued, for then waiting would not help, and our count
        -- of them is an estimate that the provider may well see otherwise.
        local exempt = sums[1] == 0 and (i < 4 or args.alone)
        fits = fits and (exempt or next_sums[i] <= args.limits[i])
      end
      if not fits then
        word = "FULL"
        break
      end
      sums = next_sums
      moved = moved + 1
      take_from_lane(lane, totals, custom_id, bytes, tokens)
      enter_batch(task, number, custom_id, args.batch, prompts, sums[1])
    end
  end
end

if forget_empty_lane(lane, totals) then
  redis.call("SREM", KEYS[3], args.lane)
end
if moved > 0 then
  redis.call("HSETNX", batch, "lane", args.lane)
  redis.call("HSETNX", batch, "sealed_at", now)
  redis.call("HSETNX", batch, "state", "sealed")
  note_filled(batch, KEYS[6], args.batch, sums, now)
  keep_for(args.keep, batch, prompts)
end
return { moved, word, damaged }
