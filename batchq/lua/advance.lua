-- A step on a batch writes down what it did and when the next one is due. Only the holder of the
-- lease may.
-- KEYS: 1 batch hash, 2 lease, 3 open batches
-- ARGV: 1 token, 2 batch id, 3 due in ms from now, then field, value, ...
-- Returns: ADVANCED or LOST
if redis.call("GET", KEYS[2]) ~= ARGV[1] then
  return "LOST"
end
local time = redis.call("TIME")
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
for at = 4, #ARGV, 2 do
  redis.call("HSET", KEYS[1], ARGV[at], ARGV[at + 1])
end
redis.call("ZADD", KEYS[3], now + ARGV[3], ARGV[2])
return "ADVANCED"
