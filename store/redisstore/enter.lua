-- Lets a request in, and counts it in all its limits and among those of its client, or does neither. A repeated call, as after a
-- connection was lost, counts nothing again and has the same reply.
--
-- KEYS: the cool-down of the assistant, the instances, the requests of the client, the mark of the request, and the window of
-- each limit
-- ARGV: the request's id, the instance, when that has asked (0: it does not know), how many there may be of the client (0: they
-- are not counted), the stream that is listened to ('': none; '-': one that has no seats for it), and of each limit the length and
-- the requests
-- Returns one of the verdicts, how long the cool-down lasts, and what was counted for each limit.

local LATE, REFUSED, FULL = 0, 1, 6 -- besides those of the cool-down; FULL is for the client's other requests alone

local LATEST = 2000000    -- how old a call may be: whoever has sent it has given up waiting, and taken back what it might do
local KEPT = 24 * 3600000 -- milliseconds that requests of a client are kept, which are removed if all goes well
local SEATS = 2           -- how many listeners of a stream take up nothing

local id, instance, sent, most, stream = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]

-- weighted returns prev * rest / length, rounded up. The product may be larger than what a number holds exactly, so that this
-- divides as one does on paper, with digits of seven bits.
local function weighted(prev, rest, length)
	local quotient, left = 0, 0
	for digit = 4, 0, -1 do
		local value = math.fmod(math.floor(prev / 128 ^ digit), 128)
		local part = left * 128 + value * rest
		left = math.fmod(part, length)
		quotient = quotient * 128 + (part - left) / length
	end
	return left > 0 and quotient + 1 or quotient
end

-- instances returns those that were heard of in the last time, and whether they live.
local function instances()
	local live = {}
	local beats = redis.call('ZRANGE', KEYS[2], 0, -1, 'WITHSCORES')
	for i = 1, #beats, 2 do
		live[beats[i]] = now - beats[i + 1] <= SILENT
	end
	return live
end

-- present returns the requests of the client that are sent upstream, by their ids, how many there are, and how many listeners
-- each stream has. What instances have left behind that are gone for good is removed.
local function present()
	local asking, n, listeners = {}, 0, {}
	local live = instances()
	local all = redis.call('HGETALL', KEYS[3])
	for i = 1, #all, 2 do
		local of, listensTo = string.match(all[i + 1], '^(%S+) (.*)$')
		if live[of] == nil then
			redis.call('HDEL', KEYS[3], all[i])
		elseif live[of] and listensTo == '' then
			asking[all[i]], n = true, n + 1
		elseif live[of] then
			listeners[listensTo] = (listeners[listensTo] or 0) + 1
		end
	end
	return asking, n, listeners
end

-- hasRoom reports whether the client may have one more.
local function hasRoom()
	local asking, taken, listeners = present()
	if asking[stream] and (listeners[stream] or 0) < SEATS then
		return true
	end
	for listensTo, n in pairs(listeners) do
		taken = taken + (asking[listensTo] and math.max(0, n - SEATS) or n)
	end
	return taken < most
end

if sent > 0 and now - sent > LATEST then
	return {LATE, 0}
end
local mark = redis.call('GET', KEYS[4])
if mark == 'left' then
	return {LATE, 0}
elseif mark then
	local reply = {}
	for n in string.gmatch(mark, '%S+') do
		reply[#reply + 1] = tonumber(n)
	end
	return reply
end
local verdict, wait = ADMITTED, 0
if stream == '' then
	verdict, wait = coolDown(KEYS[1], KEYS[2], id)
	if verdict == COOLING or verdict == TAKEN then
		return {verdict, wait}
	end
end

local usages = {}
local room, refusal = true, REFUSED
for i = 5, #KEYS do
	local length, requests = tonumber(ARGV[2 * i - 4]), tonumber(ARGV[2 * i - 3])
	local u = read(KEYS[i], length)
	room = room and weighted(u.prev, length - u.elapsed, length) + u.now < requests
	usages[#usages + 1] = u
end
if room and most > 0 then
	show(KEYS[2], instance) -- as it may not have had a beat yet
	room, refusal = hasRoom(), FULL
end

local reply = {room and verdict or refusal, 0}
for _, u in ipairs(usages) do
	if room then
		u.now = u.now + 1
		write(u)
	end
	append(reply, u)
end
if room and most > 0 then
	redis.call('HSET', KEYS[3], id, instance .. ' ' .. stream)
	redis.call('PEXPIRE', KEYS[3], KEPT)
end
if room and verdict == ALONE then
	goAlone(KEYS[1], KEYS[2], id, instance)
end
if room and (most > 0 or #usages > 0) then
	local words = {}
	for i, n in ipairs(reply) do
		words[i] = string.format('%.0f', n)
	end
	redis.call('SET', KEYS[4], table.concat(words, ' '), 'PX', MARKED)
end
return reply
