-- What some prompts ask, for the file of their batch: as many of them as are not too much at once.
-- KEYS: for each prompt: its task's bodies hash, its task hash
-- args: most (bytes of bodies), numbers (the number of each prompt)
-- Returns: {the body of each, nil where there is none, {the name of a task, how many of these are
--          its, another name, …}}; the first body is there whatever its size
-- @include "args"
local bodies, counts, names, size = {}, {}, {}, 0
for at, number in ipairs(args.numbers) do
  local body = redis.pcall("HGET", KEYS[2 * at - 1], number)
  -- A key that is none of ours holds no body.
  body = type(body) == "string" and body
  size = size + (body and #body or 0)
  if at > 1 and size > args.most then
    break
  end
  bodies[at] = body
  local name = redis.pcall("HGET", KEYS[2 * at], "name")
  if type(name) == "string" then
    counts[name] = (counts[name] or 0) + 1
  end
end
for name, count in pairs(counts) do
  names[#names + 1] = name
  names[#names + 1] = count
end
return { bodies, names }
