#!lua flags=allow-oom
-- Says that a member is there, makes free what is due and what the dead had, and takes some of what is free.
-- KEYS: stream, state, late, alive
-- ARGV: group, member, how many to take, how many bytes, ms after which a silent member is dead, 1 to look for those, settings that
-- the group gets if there are any
-- Returns the group's settings, in how many ms something is due (-1: nothing is), the size of the topic's largest event, and
-- events: id, attempt, data.
local stream, state, late, alive = unpack(KEYS)
local group, member, most, bytes, dead, look = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local before = redis.call('ZSCORE', alive, member)
if not before then
  return redis.error_reply('GONE others have taken the member for dead')
end
redis.call('ZADD', alive, now, member)
if ARGV[7] ~= '' then
  redis.call('HSET', state, 'g:' .. group, ARGV[7])
end

local function free(ids)
  local args = {'XCLAIM', stream, group, 'free', 0}
  for _, id in ipairs(ids) do args[#args + 1] = id end
  args[#args + 1] = 'JUSTID'
  redis.call(unpack(args))
end

local due = redis.call('ZRANGEBYSCORE', late, '-inf', now, 'LIMIT', 0, 1000)
if #due > 0 then
  free(due)
  redis.call('ZREM', late, unpack(due))
end

-- Who has not been heard of itself for as long cannot tell: maybe nobody was heard, because the server was away.
if look == '1' and now - tonumber(before) < dead / 2 then
  for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', stream, group)) do
    local name = consumer[2]
    local seen = redis.call('ZSCORE', alive, name)
    if name ~= 'free' and name ~= 'late' and (not seen or tonumber(seen) < now - dead) then
      while true do
        local ids = {}
        for _, p in ipairs(redis.call('XPENDING', stream, group, '-', '+', 1000, name)) do ids[#ids + 1] = p[1] end
        if #ids == 0 then break end
        free(ids)
      end
      redis.call('XGROUP', 'DELCONSUMER', stream, group, name)
      redis.call('ZREM', alive, name)
    end
  end
end

local largest = tonumber(redis.call('HGET', state, 'largest') or 1)
most = math.min(most, math.max(1, math.floor(bytes / largest)))
local taken = {}
if tonumber(ARGV[3]) > 0 then
  local pending = redis.call('XPENDING', stream, group, '-', '+', most, 'free')
  if #pending > 0 then
    local args, attempts = {'XCLAIM', stream, group, member, 0}, {}
    for _, p in ipairs(pending) do
      args[#args + 1] = p[1]
      attempts[p[1]] = p[4] + 1
    end
    for _, entry in ipairs(redis.call(unpack(args))) do
      taken[#taken + 1] = {entry[1], attempts[entry[1]], entry[2][2]}
    end
  end
end
local first = redis.call('ZRANGE', late, 0, 0, 'WITHSCORES')
local wait = -1
if first[2] then wait = math.max(0, tonumber(first[2]) - now) end
return {redis.call('HGET', state, 'g:' .. group) or '', wait, largest, taken}
