#!lua flags=allow-oom
-- Ends a member, whose events anybody may take then; or a whole group.
-- KEYS: stream, state, late, alive
-- ARGV: group, member, 1 to end the group
local stream, state, late, alive = unpack(KEYS)
local group, member = ARGV[1], ARGV[2]
if ARGV[3] == '1' then
  redis.pcall('XGROUP', 'DESTROY', stream, group)
  redis.call('DEL', late, alive)
  redis.call('HDEL', state, 'g:' .. group)
  return 'ok'
end
local moved = false
while true do
  local args = {'XCLAIM', stream, group, 'free', 0}
  for _, p in ipairs(redis.call('XPENDING', stream, group, '-', '+', 1000, member)) do args[#args + 1] = p[1] end
  if #args == 5 then break end
  args[#args + 1] = 'JUSTID'
  redis.call(unpack(args))
  moved = true
end
redis.call('XGROUP', 'DELCONSUMER', stream, group, member)
redis.call('ZREM', alive, member)
local time = redis.call('TIME')
redis.call('ZADD', alive, time[1] * 1000 + math.floor(time[2] / 1000), '')
if moved then
  redis.call('PUBLISH', stream, group)
end
return 'ok'
