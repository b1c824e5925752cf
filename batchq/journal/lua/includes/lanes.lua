-- A prompt enters its lane, at the place that the time of its question gives it.
local function enter_lane(lane, totals, custom_id, asked_at, bytes, tokens)
  redis.call("ZADD", lane, asked_at, custom_id)
  -- Sums that somebody has spoiled stop nobody: they are gone with the lane's last prompt.
  redis.pcall("HINCRBY", totals, "bytes", bytes)
  redis.pcall("HINCRBY", totals, "tokens", tokens)
end

-- A prompt is taken out of its lane, and out of the lane's totals. Returns whether it was there.
local function take_from_lane(lane, totals, custom_id, bytes, tokens)
  if redis.call("ZREM", lane, custom_id) == 0 then
    return false
  end
  redis.pcall("HINCRBY", totals, "bytes", -(tonumber(bytes) or 0))
  redis.pcall("HINCRBY", totals, "tokens", -(tonumber(tokens) or 0))
  return true
end

-- The totals of a lane go with its last prompt. Returns whether the lane is empty.
local function forget_empty_lane(lane, totals)
  if redis.call("ZCARD", lane) > 0 then
    return false
  end
  redis.call("DEL", totals)
  return true
end

-- A prompt leaves its lane, if it is there, for good. Returns whether the lane is empty by that.
local function leave_lane(lane, totals, custom_id, bytes, tokens)
  return take_from_lane(lane, totals, custom_id, bytes, tokens) and forget_empty_lane(lane, totals)
end

-- Prompts of one task leave their lanes. Of each there are two keys: its lane, the lane's totals.
local function leave_lanes(task, prompts, keys, first)
  for at, prompt in ipairs(prompts) do
    local size = redis.call("HMGET", task, prompt.number .. ":bytes", prompt.number .. ":tokens")
    local lane = first + 2 * (at - 1)
    leave_lane(keys[lane], keys[lane + 1], prompt.custom_id, size[1], size[2])
  end
end
