-- The scripts in batchq/journal/lua run inside Redis: Lua 5.1 and these names, nothing else.
std = "lua51"
read_globals = { "KEYS", "ARGV", "redis", "cjson", "cmsgpack", "struct", "bit" }
max_line_length = 100

-- What an include defines, and the scripts use.
files["batchq/journal/lua/*.lua"].read_globals = { "now_ms" }
files["batchq/journal/lua/includes"].ignore = { "211/now_ms" }
files["batchq/journal/lua/testing/shifted.lua"] = { ignore = { "211/now_ms" }, read_globals = { "now_ms", "SHIFT" } }
