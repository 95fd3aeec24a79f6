-- Marks a stream as lost if a given writer has begun it and it has no end. The mark is the entry that would come next,
-- so it does not hide an entry that Redis has.
--
-- KEYS: the stream
-- ARGV: the instance, and the claim ('': any claim of the instance)
-- Returns 1 if the stream is marked now, else 0.

local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
if not first or field(first, 'instance') ~= ARGV[1] or ARGV[2] ~= '' and field(first, 'claim') ~= ARGV[2] then
	return 0
end
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
if field(last, 'reason') or field(last, 'failed') or field(last, 'lost') or field(last, 'unkept') then
	return 0
end
local events, number = string.match(last[1], '^(%d+)-(%d+)$')
local ends = field(last, 'ends')
if ends then
	local _, commas = string.gsub(ends, ',', '')
	events = events + commas + 1
end
redis.call('XADD', KEYS[1], string.format('%.0f-%.0f', events, number + 1), 'lost', 1)
return 1
