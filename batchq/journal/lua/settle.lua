-- A run has ended without a question. Its task is final, or will be tried again.
-- KEYS: 1 task hash, 2 bodies hash, 3 lease, 4 waiting tasks, 5 resuming tasks
-- args: token, task (its id), state (Celery's), final (or to be retried), keep (time to live in
--       ms), read (the numbers of the answers that its runs have read), ask_again (the numbers of
--       those that the retry is to ask again)
-- Returns: SETTLED or LOST (another run took over)
-- @include "args"
-- @include "expiry"
-- @include "runs"
local task, bodies, lease = KEYS[1], KEYS[2], KEYS[3]
local looked_at = { record = true, at = true, attempts = true, receipt = true }
if not is_current_run(task, args.token) then
  return "LOST"
end

local known = redis.call("HMGET", task, "nesting", "retries", "next")
if args.final then
  -- What is left is the mark that refuses a second delivery, and for people to look at, which
  -- calls there were: without what they asked, and what came back. A delivery that found the task
  -- busy is still to end by the mark, or, where it is the task's replacement, by the revoke.
  -- The number of the next call stays, so that no later run asks under the id of an earlier one.
  local stays = { name = true, next = true, calls = true, revoked = known[3] }
  local all, kept = redis.call("HGETALL", task), {}
  for at = 1, #all, 2 do
    if stays[all[at]] then
      kept[#kept + 1] = { all[at], all[at + 1] }
    elseif looked_at[all[at]:match("^%d+:(%a+)$")] then
      kept[#kept + 1] = { "was:" .. all[at], all[at + 1] }
    end
  end
  redis.call("DEL", task, bodies)
  redis.call("HSET", task, "nesting", known[1], "retries", known[2])
  for _, field in ipairs(kept) do
    redis.call("HSET", task, field[1], field[2])
  end
else
  for _, number in ipairs(args.ask_again) do
    redis.call("HDEL", bodies, number)
    redis.call("HDEL", task, number .. ":record", number .. ":at", number .. ":bytes",
      number .. ":tokens", number .. ":inputs", number .. ":attempts", number .. ":place",
      number .. ":outcome", number .. ":receipt", number .. ":from")
  end
  redis.call("HSET", task, "read", args.read)
  redis.call("HDEL", task, "message", "run", "sent_for")
  if redis.call("HEXISTS", task, "dead") == 0 then
    -- It ended in order. What came before was not the body's doing, or is over.
    redis.call("HDEL", task, "crashes")
  end
  keep_for(args.keep, bodies)
end
redis.call("HSET", task, "done", args.state)
keep_for(args.keep, task)
redis.call("ZREM", KEYS[4], args.task)
if not known[3] then
  redis.call("ZREM", KEYS[5], args.task)
end
redis.call("DEL", lease)
return "SETTLED"
