-- Removes a stream, if it still has the claim of the caller.
--
-- KEYS: the stream
-- ARGV: the claim
-- Returns 1.

local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)
if first[1] and field(first[1], 'claim') == ARGV[1] then
	redis.call('DEL', KEYS[1])
end
return 1
