-- Fields of a hash are written, as they are given.
local function write_fields(key, fields)
  for name, value in pairs(fields) do
    redis.call("HSET", key, name, value)
  end
end
