-- Reads some events of a topic, after having passed over some others: no more at once than keeps nobody waiting.
-- KEYS: stream, state
-- ARGV: where to begin, how many events to pass over, how many to read, bytes that may be touched
-- Returns where to go on ('' at the end), how many were passed over, and the events' data.
local stream, state = unpack(KEYS)
local from, pass, most, bytes = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
if pass >= redis.call('XLEN', stream) then
  return {'', 0, {}}
end
local largest = tonumber(redis.call('HGET', state, 'largest') or 1)
local n = math.min(pass > 0 and pass or most, 1000, math.max(1, math.floor(bytes / largest)))
local entries = redis.call('XRANGE', stream, from, '+', 'COUNT', n)
local on = ''
if #entries == n then on = '(' .. entries[n][1] end
if pass > 0 then
  return {on, #entries, {}}
end
local found = {}
for i, entry in ipairs(entries) do found[i] = entry[2][2] end
return {on, 0, found}
