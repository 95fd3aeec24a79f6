-- Marks a stream as lost if a given instance has begun it and it has no end. The mark is the entry that would come next,
-- so it does not hide an entry that Redis has.
--
-- KEYS: the stream
-- ARGV: the instance
-- Returns 1 if the stream is marked now, else 0.

-- fields returns the fields of an entry by their names.
local function fields(entry)
	local all = {}
	for i = 1, #entry[2], 2 do
		all[entry[2][i]] = entry[2][i + 1]
	end
	return all
end

local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
if not first then
	return 0
end
local of = fields(first)
local instance = of['instance'] or of['meta'] and cjson.decode(of['meta'])['instance']
if instance ~= ARGV[1] then
	return 0
end
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
local has = fields(last)
if has['reason'] or has['failed'] or has['lost'] then
	return 0
end
local events, number = string.match(last[1], '^(%d+)-(%d+)$')
if has['ends'] then
	local _, commas = string.gsub(has['ends'], ',', '')
	events = events + commas + 1
end
redis.call('XADD', KEYS[1], string.format('%.0f-%.0f', events, number + 1), 'lost', 1)
return 1
