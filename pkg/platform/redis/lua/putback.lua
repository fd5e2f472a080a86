#!lua flags=allow-oom
-- Puts back events that a member has, at once or later.
-- KEYS: stream, late
-- ARGV: group, member, delay in ms; then of each event its id and how often it was delivered
local stream, late = unpack(KEYS)
local group, member, delay = ARGV[1], ARGV[2], tonumber(ARGV[3])
local time = redis.call('TIME')
local due = time[1] * 1000 + math.floor(time[2] / 1000) + delay
local target = delay > 0 and 'late' or 'free'
for i = 4, #ARGV, 2 do
  local id = ARGV[i]
  -- Unless somebody else has it by now.
  if #redis.call('XPENDING', stream, group, id, id, 1, member) > 0 then
    redis.call('XCLAIM', stream, group, target, 0, id, 'RETRYCOUNT', ARGV[i + 1], 'JUSTID')
    if delay > 0 then
      redis.call('ZADD', late, due, id)
    end
  end
end
if delay == 0 then
  redis.call('PUBLISH', stream, group)
end
return 'ok'
