-- What scripts have in common. All times are Redis's own, in microseconds, which a number holds exactly until the year 2255. The
-- clock may go back, by an operator or by a failover to another server. So no time that is stored holds longer than it can.

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

-- The verdicts on a request, as far as only the cool-down matters.
local COOLING, TAKEN, ADMITTED, ALONE = 2, 3, 4, 5

local SILENT = 4000000  -- an instance without a beat for so long does not live any more
local LAPSES = 30000000 -- others wait for the probe for so long
local SKEW = 2000000    -- clocks of servers may differ by so much
local MARKED = 5000     -- milliseconds that a request's calls are remembered, longer than a call can be late

-- taken reports whether there is a probe already, and its instance lives.
local function taken(key, by, lapses, instances)
	if not by or lapses - now <= 0 then
		return false
	end
	if lapses - now > LAPSES + SKEW then -- the clock went back
		redis.call('HSET', key, 'lapses', now + LAPSES)
	end
	local beat = redis.call('ZSCORE', instances, by)
	return beat and now - beat <= SILENT
end

-- coolDown returns the verdict on a request, and how long the cool-down lasts.
local function coolDown(key, instances, id)
	local c = redis.call('HMGET', key, 'until', 'alone', 'by', 'lapses', 'lasts')
	if not c[1] then
		return ADMITTED, 0
	end
	local wait, lasts = c[1] - now, tonumber(c[5])
	if lasts and wait > lasts + SKEW then -- the clock went back
		wait = lasts
		redis.call('HSET', key, 'until', now + lasts)
	end
	if wait > 0 then
		return COOLING, wait
	end
	if c[2] ~= id and taken(key, c[3], c[4], instances) then
		return TAKEN, 0
	end
	return ALONE, 0
end

-- show shows that an instance lives.
local function show(instances, instance)
	local FORGOTTEN = 60000000 -- an instance without a beat for so long is gone for good, and what it has taken up is removed
	redis.call('ZADD', instances, now, instance)
	for _, ahead in ipairs(redis.call('ZRANGEBYSCORE', instances, now + SKEW, '+inf')) do
		redis.call('ZADD', instances, now, ahead) -- the clock went back; an instance that lives has a beat soon
	end
	redis.call('ZREMRANGEBYSCORE', instances, '-inf', now - FORGOTTEN)
	redis.call('PEXPIRE', instances, FORGOTTEN / 1000)
end

-- goAlone makes a request the probe.
local function goAlone(key, instances, id, instance)
	show(instances, instance) -- as it may not have had a beat yet
	redis.call('HSET', key, 'alone', id, 'by', instance, 'lapses', now + LAPSES)
end

-- write keeps what was counted for as long as it matters.
local function write(u)
	redis.call('HSET', u.key, 'window', u.window, 'now', u.now, 'prev', u.prev)
	redis.call('PEXPIRE', u.key, math.ceil(2 * u.length / 1000))
end

-- read returns what was counted in the current window of a length, and in the one before.
local function read(key, length)
	local elapsed = math.fmod(now, length)
	local window = (now - elapsed) / length
	local stored = redis.call('HMGET', key, 'window', 'now', 'prev')
	local last = tonumber(stored[1])
	local u = {key = key, length = length, window = window, elapsed = elapsed, now = 0, prev = 0}
	if last and last > window then
		-- The clock went back, and nothing is forgotten because of that. If it went back a little, as after a failover, the window
		-- has just begun. Otherwise what was counted belongs to the current window from now on.
		u.now, u.prev = tonumber(stored[2]), tonumber(stored[3])
		if last * length - now <= SKEW then
			u.window, u.elapsed = last, 0
		else
			write(u)
		end
	elseif last == window then
		u.now, u.prev = tonumber(stored[2]), tonumber(stored[3])
	elseif last == window - 1 then
		u.prev = tonumber(stored[2])
	end
	return u
end

-- append adds to a reply what was counted.
local function append(reply, u)
	for _, n in ipairs({u.window, u.now, u.prev, u.elapsed}) do
		reply[#reply + 1] = n
	end
end
