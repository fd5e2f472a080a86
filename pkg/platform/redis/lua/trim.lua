#!lua flags=allow-oom
-- Removes what need not be kept of a topic: groups of which nobody has been there, and events.
-- KEYS: stream, state, marks
-- ARGV: retention in ms, bound of the topic, bytes for which there has to be room, ms after which a silent member is dead
-- Returns bytes, the group that is the furthest behind ('' when there is none), by how many events (-1: not known), and the
-- groups that were removed: name, ms since somebody was there, by how many events it was behind.
local stream, state, marks = unpack(KEYS)
local retention, bound, room, dead = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- An id as two numbers, and the id after it.
local function parse(id)
  local ms, n = string.match(id, '^(%d+)%-(%d+)$')
  return {tonumber(ms), tonumber(n)}
end
local function less(a, b) return a[1] < b[1] or a[1] == b[1] and a[2] < b[2] end
local function after(id)
  if id[2] >= 2 ^ 53 then return {id[1] + 1, 0} end
  return {id[1], id[2] + 1}
end

local floor, slowest, behind, removed = {2 ^ 53, 0}, '', 0, {}
local groups = redis.pcall('XINFO', 'GROUPS', stream)
if groups.err then groups = {} end -- there is no such topic
for _, fields in ipairs(groups) do
  local g = {}
  for i = 1, #fields, 2 do g[fields[i]] = fields[i + 1] end
  local missing = -1
  if g.lag then missing = g.lag + g.pending end
  local alive = stream .. ':alive:' .. g.name
  local last = redis.call('ZRANGE', alive, -1, -1, 'WITHSCORES')
  if not last[2] then -- not one of ours, or not known any more: its time begins now
    redis.call('ZADD', alive, now, '')
    last[2] = now
  end
  local age = now - tonumber(last[2])
  local settings = redis.call('HGET', state, 'g:' .. g.name) or ''
  local loner = string.sub(settings, -5) == 'loner'
  if age > retention + retention / 8 + 1000 or loner and age > dead then
    redis.call('XGROUP', 'DESTROY', stream, g.name)
    redis.call('DEL', alive, stream .. ':late:' .. g.name)
    redis.call('HDEL', state, 'g:' .. g.name)
    if not loner then removed[#removed + 1] = {g.name, age, missing} end
  else
    local keep = after(parse(g['last-delivered-id']))
    if g.pending > 0 then keep = parse(redis.call('XPENDING', stream, g.name)[2]) end
    if less(keep, floor) then floor, slowest, behind = keep, g.name, missing end
  end
end

local known = redis.call('HMGET', state, 'total', 'base')
local total, base = tonumber(known[1] or 0), tonumber(known[2] or 0)
local list = redis.call('LRANGE', marks, 0, -1)
local target = {now - retention, 0}
if total - base >= 0.75 * bound or room > 0 then
  -- More than that has to go: until it is half full, and as much as there has to be room for.
  local until_ = base + math.max(total - base - bound / 2, total - base + room - bound)
  local early = {2 ^ 53, 0}
  for _, mark in ipairs(list) do
    local at, id = string.match(mark, '^(%d+) (.*)$')
    if tonumber(at) >= until_ then
      early = after(parse(id))
      break
    end
  end
  if less(target, early) then target = early end
end
if less(floor, target) then target = floor end
if target[1] > 0 and redis.call('EXISTS', stream) == 1 then
  redis.call('XTRIM', stream, 'MINID', '=', string.format('%.0f-%.0f', target[1], target[2]))
  if redis.call('XLEN', stream) == 0 then
    base = total
    redis.call('DEL', marks)
    redis.call('HSET', state, 'mark', total)
  else
    for _, mark in ipairs(list) do
      local at, id = string.match(mark, '^(%d+) (.*)$')
      if not less(parse(id), target) then break end
      base = tonumber(at)
      redis.call('LPOP', marks)
    end
  end
  redis.call('HSET', state, 'base', base)
end
return {total - base, slowest, behind, removed}
