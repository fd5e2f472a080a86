-- Notes that there is a topic, if there may be another one.
-- KEYS: topics
-- ARGV: topic, how many there may be
if redis.call('SISMEMBER', KEYS[1], ARGV[1]) == 1 then return 1 end
if redis.call('SCARD', KEYS[1]) >= tonumber(ARGV[2]) then return 0 end
return redis.call('SADD', KEYS[1], ARGV[1])
