-- The id of a task and the number of its call, of which a custom id is made. The number has no
-- zeros before it, as in the names of fields.
local function parts_of(custom_id)
  return custom_id:match("^(.*)%-0*(%d+)$")
end
