-- An answer from an adopted batch comes in. Where a prompt has taken the line's place the answer is
-- that prompt's; else it is spared for the next one that asks the same.
-- KEYS: 1 batch's spared answers, 2 the prompts that took the places of its lines
-- args: line (its custom id), keep (time to live in ms)
-- ARGV: 2 outcome
-- Returns: the custom id of the prompt whose answer it is, or SPARED
-- @include "args"
-- @include "expiry"
local taker = redis.call("HGET", KEYS[2], args.line)
if taker then
  return taker
end
redis.call("HSET", KEYS[1], args.line, ARGV[2])
keep_for(args.keep, KEYS[1])
return "SPARED"
