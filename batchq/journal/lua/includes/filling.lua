-- A batch is filled by more than one call, as long as nobody writes its file.

-- Whether it is there, and what is in it by now: lines, bytes, inputs, tokens. Nil where it is
-- closed to more: whoever filled it was held up, and another has taken it from there.
local function look_into(batch)
  local known = redis.call("HMGET", batch, "state", "upload_intent_at", "lines", "bytes", "inputs",
    "tokens")
  if known[1] and (known[1] ~= "sealed" or tonumber(known[2] or 0) > 0) then
    return nil
  end
  local sums = {}
  for i = 1, 4 do
    sums[i] = tonumber(known[2 + i] or 0)
  end
  return known[1], sums
end

-- A prompt goes to a batch, as one of its lines.
local function enter_batch(task, number, custom_id, batch_id, prompts, line)
  redis.call("HSET", task, number .. ":place", "batch:" .. batch_id)
  redis.call("ZADD", prompts, line, custom_id)
end

-- What is in a batch by now is written down, and its next step is due.
local function note_filled(batch, open_batches, batch_id, sums, now)
  redis.call("HSET", batch, "lines", sums[1], "bytes", sums[2], "inputs", sums[3],
    "tokens", sums[4])
  redis.call("ZADD", open_batches, now, batch_id)
end
