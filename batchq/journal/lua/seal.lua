-- Prompts leave their lane for a batch, in order, as far as the batch's limits allow.
-- KEYS: 1 lane, 2 lane's totals, 3 lanes, 4 batch hash, 5 batch's prompts, 6 open batches,
--       7 the journal's names, then the task hash of each candidate
-- ARGV: 1 batch id, 2 lane name, 3 max lines, 4 max bytes, 5 max inputs, 6 max tokens,
--       7 time to live in ms, 8 whether nothing else is queued (1 or 0), 9 the journal's name,
--       then for each candidate: custom id, number
-- Returns: {prompts moved, FULL or MORE, the custom ids of candidates that are damaged}
-- @include "expiry"
-- @include "filling"
-- @include "lanes"
-- @include "now"
if redis.call("HGET", KEYS[7], "id") ~= ARGV[9] then
  -- It was emptied a moment ago: first the provider is looked through for what is lost.
  return { 0, "FULL", {} }
end
local lane, totals, batch, prompts = KEYS[1], KEYS[2], KEYS[4], KEYS[5]
local batch_id = ARGV[1]
local _, sums = look_into(batch)
if not sums then
  return { 0, "FULL", {} }
end
local limits = { tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]) }

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

for index = 8, #KEYS do
  local custom_id, number = ARGV[10 + 2 * (index - 8)], ARGV[11 + 2 * (index - 8)]
  if redis.call("ZSCORE", lane, custom_id) then
    local size = redis.pcall("HMGET", KEYS[index], number .. ":bytes", number .. ":inputs",
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
        local exempt = sums[1] == 0 and (i < 4 or ARGV[8] == "1")
        fits = fits and (exempt or next_sums[i] <= limits[i])
      end
      if not fits then
        word = "FULL"
        break
      end
      sums = next_sums
      moved = moved + 1
      take_from_lane(lane, totals, custom_id, bytes, tokens)
      enter_batch(KEYS[index], number, custom_id, batch_id, prompts, sums[1])
    end
  end
end

if forget_empty_lane(lane, totals) then
  redis.call("SREM", KEYS[3], ARGV[2])
end
if moved > 0 then
  redis.call("HSETNX", batch, "lane", ARGV[2])
  redis.call("HSETNX", batch, "sealed_at", now)
  redis.call("HSETNX", batch, "state", "sealed")
  note_filled(batch, KEYS[6], batch_id, sums, now)
  keep_for(ARGV[7], batch, prompts)
end
return { moved, word, damaged }
