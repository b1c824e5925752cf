-- Whether a lease is held by whoever has this token.
local function holds(lease, token)
  return redis.call("GET", lease) == token
end

-- Whether a lease is held by somebody else.
local function is_taken(lease, token)
  local holder = redis.call("GET", lease)
  return holder and holder ~= token
end
