-- Claims a stream: adds its first entry, unless another claim has the stream.
--
-- KEYS: the stream
-- ARGV: the claim, for how many milliseconds the stream is kept, a claim that may be replaced ('': none), and the fields
-- of the first entry
-- Returns 1 if the stream has this claim now. Else it returns the first and the last entry of the stream.

local key, claim, kept, replaceable = KEYS[1], ARGV[1], ARGV[2], ARGV[3]

local first = redis.call('XRANGE', key, '-', '+', 'COUNT', 2)
if first[1] then
	local has = field(first[1], 'claim')
	if has == claim then
		return 1 -- this call is repeated, because the first reply was lost
	end
	local last = redis.call('XREVRANGE', key, '+', '-', 'COUNT', 1)[1]
	local opened = first[2] and field(first[2], 'head')
	local free = field(last, 'failed') or not opened and (has == replaceable or field(last, 'lost'))
	if not free then
		return {first[1], last}
	end
	redis.call('DEL', key)
end
redis.call('XADD', key, '0-1', unpack(ARGV, 4))
redis.call('PEXPIRE', key, kept)
return 1
