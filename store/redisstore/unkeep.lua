-- Leaves only the claim of a stream, with the mark that the rest is not kept. So the question is not asked again while the
-- stream goes on. Nothing is done if another claim has the stream.
--
-- KEYS: the stream
-- ARGV: the claim, for how many milliseconds the claim is kept, the id of the mark, which must be greater than that of any
-- entry before, and the fields of the first entry
-- Returns 1.

local key, claim, kept = KEYS[1], ARGV[1], ARGV[2]

local first = redis.call('XRANGE', key, '-', '+', 'COUNT', 1)
if first[1] and field(first[1], 'claim') ~= claim then
	return 1
end
redis.call('DEL', key)
redis.call('XADD', key, '0-1', unpack(ARGV, 4))
redis.call('PEXPIRE', key, kept)
redis.call('XADD', key, ARGV[3], 'unkept', 1)
return 1
