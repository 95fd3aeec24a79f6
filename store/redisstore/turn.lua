-- Ends the turn of a request that goes alone after a cool-down.
--
-- KEYS: the cool-down of the assistant
-- ARGV: the request's id, and whether it was answered: then the cool-down is over, unless the answer has prolonged it

local c = redis.call('HMGET', KEYS[1], 'alone', 'until')
if c[1] ~= ARGV[1] then
	return {} -- it took so long that another has gone
end
if ARGV[2] == '1' and c[2] - now <= 0 then
	redis.call('DEL', KEYS[1])
else
	redis.call('HDEL', KEYS[1], 'alone', 'by', 'lapses')
end
return {}
