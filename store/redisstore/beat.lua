-- Notes that an instance lives, and returns the time.
--
-- KEYS: the instances
-- ARGV: the instance

local FORGOTTEN = 60000000 -- after how long an instance is gone for good, and what it has taken up is removed

redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - FORGOTTEN)
redis.call('PEXPIRE', KEYS[1], FORGOTTEN / 1000)
return now
