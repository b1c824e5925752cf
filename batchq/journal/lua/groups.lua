-- Which groups wait for tasks.
-- KEYS: the hash of each task
-- Returns: what each of those has that have any, as JSON
local found = {}
for _, key in ipairs(KEYS) do
  -- A foreign key has none.
  local groups = redis.pcall("HGET", key, "groups")
  if type(groups) == "string" then
    found[#found + 1] = groups
  end
end
return found
