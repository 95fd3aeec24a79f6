-- What scripts have in common. All times are Redis's own, in microseconds, which a number holds exactly until the year 2255.

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

-- What decides whether a request may be sent upstream, as far as only the cool-down matters.
local COOLING, TAKEN, ADMITTED, ALONE = 2, 3, 4, 5

local SILENT = 4000000  -- after how long an instance does not live any more
local LAPSES = 30000000 -- how long others wait for the one that goes alone

-- taken reports whether a request goes alone already, and its instance lives.
local function taken(by, lapses, instances)
	if not by or lapses - now <= 0 then
		return false
	end
	local beat = redis.call('ZSCORE', instances, by)
	return beat and now - beat <= SILENT
end

-- coolDown returns the verdict for a request, and how long the cool-down lasts.
local function coolDown(key, instances, id)
	local c = redis.call('HMGET', key, 'until', 'alone', 'by', 'lapses')
	if not c[1] then
		return ADMITTED, 0
	end
	local wait = c[1] - now
	if wait > 0 then
		return COOLING, wait
	end
	if c[2] ~= id and taken(c[3], c[4], instances) then
		return TAKEN, 0
	end
	return ALONE, 0
end

-- show shows that an instance lives.
local function show(instances, instance)
	local FORGOTTEN = 60000000 -- after how long one is gone for good, and what it has taken up is removed
	redis.call('ZADD', instances, now, instance)
	redis.call('ZREMRANGEBYSCORE', instances, '-inf', now - FORGOTTEN)
	redis.call('PEXPIRE', instances, FORGOTTEN / 1000)
end

-- goAlone has others wait for a request.
local function goAlone(key, instances, id, instance)
	show(instances, instance) -- as it may not have had a beat yet
	redis.call('HSET', key, 'alone', id, 'by', instance, 'lapses', now + LAPSES)
end

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
