-- Something has happened: it goes to the end of the stream of events, which forgets the oldest.
-- KEYS: 1 events
-- args: most (about how many events to keep), keep (time to live in ms)
-- ARGV: 2 the event
-- Returns: the event's id
-- @include "args"
-- @include "expiry"
-- @include "now"
-- First a write that a full Redis takes: it then takes the others too, and the stream grows no
-- longer than it may.
redis.call("XTRIM", KEYS[1], "MAXLEN", "~", args.most)
-- Its id is its time, as Redis would make it, but by the clock that the journal's times are of.
local last = redis.call("XREVRANGE", KEYS[1], "+", "-", "COUNT", 1)[1]
local at, number = now_ms(), 0
if last then
  local last_at, last_number = last[1]:match("^(%d+)-(%d+)$")
  if tonumber(last_at) >= at then
    at, number = last_at, tonumber(last_number) + 1
  end
end
local id = redis.call("XADD", KEYS[1], "MAXLEN", "~", args.most, ("%.0f-%.0f"):format(at, number),
  "event", ARGV[2])
keep_for(args.keep, KEYS[1])
return id
