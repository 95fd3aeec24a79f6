-- Begins a cool-down, or prolongs one.
--
-- KEYS: the cool-down of the assistant
-- ARGV: how long it lasts, and when it began (0: that is not known)

local KEPT = 3600000 -- milliseconds after its end that it is remembered, so that one request goes alone

local lasts, from = tonumber(ARGV[1]), tonumber(ARGV[2])
local ends = (from > 0 and math.min(from, now) or now) + lasts
if ends <= now then
	return {} -- the call was so late that it is over
end
local c = redis.call('HMGET', KEYS[1], 'until', 'lasts')
local other, otherLasts = tonumber(c[1]) or 0, tonumber(c[2]) or 0
if otherLasts > 0 and other - now > otherLasts + SKEW then
	other = now + otherLasts -- the clock went back
end
if other >= ends then
	ends, lasts = other, otherLasts
end
redis.call('HSET', KEYS[1], 'until', ends, 'lasts', lasts)
redis.call('PEXPIRE', KEYS[1], math.ceil((ends - now) / 1000) + KEPT)
return {}
