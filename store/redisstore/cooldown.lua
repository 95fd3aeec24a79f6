-- Begins a cool-down, or prolongs one.
--
-- KEYS: the cool-down
-- ARGV: how long it lasts

local KEPT = 3600000 -- milliseconds after its end that it is remembered, so that one request goes alone

local ends = math.max(now + ARGV[1], tonumber(redis.call('HGET', KEYS[1], 'until')) or 0)
redis.call('HSET', KEYS[1], 'until', ends)
redis.call('PEXPIRE', KEYS[1], math.ceil((ends - now) / 1000) + KEPT)
return {}
