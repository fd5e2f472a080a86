-- Adds events to a topic, all of them or none, if there is room.
-- KEYS: stream, state, marks
-- ARGV: bytes of all, bytes of the largest, bound of the topic, bytes between two marks, events...
local stream, state, marks = unpack(KEYS)
local size, large, bound, every = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local known = redis.call('HMGET', state, 'total', 'base', 'mark', 'largest')
local total, base, mark, largest = tonumber(known[1] or 0), tonumber(known[2] or 0), tonumber(known[3] or 0), tonumber(known[4] or 0)
if total - base + size > bound then
  return 'full'
end
local call, id = redis.call, nil
for i = 5, #ARGV do
  id = call('XADD', stream, '*', 'e', ARGV[i])
end
total = total + size
if total - mark >= every then
  mark = total
  redis.call('RPUSH', marks, string.format('%.0f %s', total, id))
end
redis.call('HSET', state, 'total', total, 'mark', mark, 'largest', math.max(largest, large))
redis.call('PUBLISH', stream, '')
return 'ok'
