-- Notes that an instance lives, and returns the time.
--
-- KEYS: the instances
-- ARGV: the instance

show(KEYS[1], ARGV[1])
return now
