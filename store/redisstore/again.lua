-- Lets a request that was let in before ask the upstream once more, as far as the cool-down allows.
--
-- KEYS: the cool-down of the assistant, the instances
-- ARGV: the request's id, the instance
-- Returns a verdict, and how long the cool-down lasts.

local verdict, wait = coolDown(KEYS[1], KEYS[2], ARGV[1])
if verdict == ALONE then
	goAlone(KEYS[1], KEYS[2], ARGV[1], ARGV[2])
end
return {verdict, wait}
