#!lua flags=allow-oom
-- Makes somebody a member of a group, and the group if there is none.
-- KEYS: stream, state, late, alive
-- ARGV: group, member, settings, ms from when on a new group gets events or -1 for all, the id before that, how many groups there may be
local stream, state, late, alive = unpack(KEYS)
local group, member, settings, offset, start, most = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5], tonumber(ARGV[6])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if offset > now then
  start = '$'
end
local made = redis.pcall('XGROUP', 'CREATE', stream, group, start, 'MKSTREAM')
if made.err then
  if not string.find(made.err, 'BUSYGROUP', 1, true) then
    return made
  end
else
  if #redis.call('XINFO', 'GROUPS', stream) > most then
    redis.call('XGROUP', 'DESTROY', stream, group)
    return 'many'
  end
  redis.call('DEL', late, alive)
end
redis.call('ZADD', alive, now, member, now, '')
redis.call('HSET', state, 'g:' .. group, settings)
return 'ok'
