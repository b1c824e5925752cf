-- Where those bodies of a task lie that are kept outside of Redis.
-- KEYS: 1 bodies hash
-- args: mark (what stands before where a body lies, in the place of the body)
-- Returns: a flat list of numbers and what stands in the place of their bodies
-- @include "args"
local all, found = redis.pcall("HGETALL", KEYS[1]), {}
if all.err then
  return {}
end
for at = 1, #all, 2 do
  if all[at + 1]:sub(1, #args.mark) == args.mark then
    found[#found + 1] = all[at]
    found[#found + 1] = all[at + 1]
  end
end
return found
