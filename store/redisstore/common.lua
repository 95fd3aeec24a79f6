-- What scripts have in common. All times are Redis's own, in microseconds, which a number holds exactly until the year 2255.

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

-- read returns what was counted in the current window of a length, and in the one before.
local function read(key, length)
	local elapsed = math.fmod(now, length)
	local window = (now - elapsed) / length
	local stored = redis.call('HMGET', key, 'window', 'now', 'prev')
	local last = tonumber(stored[1])
	local u = {key = key, length = length, window = window, elapsed = elapsed, now = 0, prev = 0}
	if last == window + 1 then
		-- The clock was put back a little, as after a failover: nothing is forgotten because of that.
		u.window, u.elapsed = last, 0
	end
	if last == u.window then
		u.now, u.prev = tonumber(stored[2]), tonumber(stored[3])
	elseif last == u.window - 1 then
		u.prev = tonumber(stored[2])
	end
	return u
end

-- write keeps what was counted for as long as it matters.
local function write(u)
	redis.call('HSET', u.key, 'window', u.window, 'now', u.now, 'prev', u.prev)
	redis.call('PEXPIRE', u.key, math.ceil(2 * u.length / 1000))
end

-- append adds to a reply what was counted.
local function append(reply, u)
	for _, n in ipairs({u.window, u.now, u.prev, u.elapsed}) do
		reply[#reply + 1] = n
	end
end
