-- The scripts in batchq/journal/lua run inside Redis: Lua 5.1 and these names, nothing else.
std = "lua51"
read_globals = { "KEYS", "ARGV", "redis", "cjson", "cmsgpack", "struct", "bit" }
max_line_length = 100

-- What includes define, and the scripts and other includes use.
local included = {
  "args", "now_ms",
  "holds", "is_taken", "is_current_run", "keep_for", "write_fields",
  "enter_lane", "take_from_lane", "forget_empty_lane", "leave_lane", "leave_lanes",
  "look_into", "enter_batch", "note_filled",
  "forget_wakes", "count_crash", "set_aside", "count_answer", "leave_a_mark",
  "look_at", "has_ended", "is_running", "has_asked_on", "say_state", "parts_of",
}
files["batchq/journal/lua/*.lua"].read_globals = included
files["batchq/journal/lua/includes"] = { ignore = { "211" }, read_globals = included }
files["batchq/journal/lua/testing/pass.lua"].read_globals = { "args" }
files["batchq/journal/lua/testing/shifted.lua"] = { ignore = { "211/now_ms" }, read_globals = { "now_ms", "SHIFT" } }
