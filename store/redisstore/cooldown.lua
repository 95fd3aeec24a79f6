-- Begins a cool-down, or prolongs one.
--
-- KEYS: the cool-down of the assistant
-- ARGV: how long it lasts, and from when on (0: that is not known)

local KEPT = 3600000 -- milliseconds after its end that it is remembered, so that one request goes alone

local from = tonumber(ARGV[2])
local ends = (from > 0 and from or now) + ARGV[1]
if ends <= now then
	return {} -- the call was so late that it is over
end
ends = math.max(ends, tonumber(redis.call('HGET', KEYS[1], 'until')) or 0)
redis.call('HSET', KEYS[1], 'until', ends)
redis.call('PEXPIRE', KEYS[1], math.ceil((ends - now) / 1000) + KEPT)
return {}
