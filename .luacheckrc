-- The scripts in batchq/lua run inside Redis: Lua 5.1 and these names, nothing else.
std = "lua51"
read_globals = { "KEYS", "ARGV", "redis", "cjson", "cmsgpack", "struct", "bit" }
max_line_length = 100
