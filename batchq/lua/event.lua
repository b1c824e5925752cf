-- Something has happened: it goes to the end of the stream of events, which forgets the oldest.
-- KEYS: 1 events
-- ARGV: 1 the event as JSON, 2 about how many events to keep, 3 time to live in ms
-- Returns: the event's id
-- First a write that a full Redis takes: it then takes the others too, and the stream grows no
-- longer than it may.
redis.call("XTRIM", KEYS[1], "MAXLEN", "~", ARGV[2])
local id = redis.call("XADD", KEYS[1], "MAXLEN", "~", ARGV[2], "*", "event", ARGV[1])
redis.call("PEXPIRE", KEYS[1], ARGV[3])
return id
