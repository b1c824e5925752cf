-- What the caller says, by name (batchq/journal/scripts.py writes it). What is compressed,
-- encrypted or JSON itself stands behind it in ARGV.
local args = cjson.decode(ARGV[1])
