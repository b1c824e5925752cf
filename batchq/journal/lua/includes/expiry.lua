-- Keys live so many milliseconds from now on.
local function keep_for(ms, ...)
  for _, key in ipairs({ ... }) do
    redis.call("PEXPIRE", key, ms)
  end
end
