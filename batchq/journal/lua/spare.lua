-- An answer from an adopted batch comes in. Where a prompt has taken the line's place the answer is
-- that prompt's; else it is spared for the next one that asks the same.
-- KEYS: 1 batch's spared answers, 2 the prompts that took the places of its lines
-- ARGV: 1 custom id of the line, 2 outcome, 3 time to live in ms
-- Returns: the custom id of the prompt whose answer it is, or SPARED
local taker = redis.call("HGET", KEYS[2], ARGV[1])
if taker then
  return taker
end
redis.call("HSET", KEYS[1], ARGV[1], ARGV[2])
redis.call("PEXPIRE", KEYS[1], ARGV[3])
return "SPARED"
