-- Adds an entry to a stream, if the stream still has the claim of the caller.
--
-- KEYS: the stream
-- ARGV: the claim, for how many milliseconds the stream is kept from now on (0: as long as before), and the id and the
-- fields of the entry
-- Returns 1 if the stream has the entry now, 0 if there is no such stream, -1 if another claim has it, and -2 if it was
-- marked as lost.

local key, claim, kept = KEYS[1], ARGV[1], tonumber(ARGV[2])

local first = redis.call('XRANGE', key, '-', '+', 'COUNT', 1)
if not first[1] then
	return 0
end
if field(first[1], 'claim') ~= claim then
	return -1
end
local added = redis.pcall('XADD', key, unpack(ARGV, 3))
if type(added) == 'table' and added.err then
	if not string.find(added.err, 'equal or smaller', 1, true) then
		return added
	end
	local has = redis.call('XRANGE', key, ARGV[3], ARGV[3])[1]
	if has and field(has, 'lost') then
		return -2
	end -- else this call is repeated, because the first reply was lost
end
if kept > 0 then
	redis.call('PEXPIRE', key, kept)
end
return 1
