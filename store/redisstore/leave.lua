-- Gives back what a request has taken up.
--
-- KEYS: the requests of its client, the mark of the request, and the window of each limit in which it does not count after all
-- ARGV: the request's id, and of each limit the length and the number of the window in which it was counted
-- Returns what was counted for each limit, without the request.

redis.call('HDEL', KEYS[1], ARGV[1])
local mark = redis.call('GET', KEYS[2])
if mark or #KEYS > 2 then
	redis.call('SET', KEYS[2], 'left', 'PX', MARKED) -- so that no repeated call has an effect
end
local reply = {}
for i = 3, #KEYS do
	local u = read(KEYS[i], tonumber(ARGV[2 * i - 4]))
	local window = tonumber(ARGV[2 * i - 3])
	if mark == 'left' then
		window = -1 -- it was taken off the count already
	end
	if window == u.window and u.now > 0 then
		u.now = u.now - 1
		write(u)
	elseif window == u.window - 1 and u.prev > 0 then
		u.prev = u.prev - 1
		write(u)
	end
	if u.now == 0 and u.prev == 0 then
		redis.call('DEL', u.key)
	end
	append(reply, u)
end
return reply
