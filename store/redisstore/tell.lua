-- Adds a message for an instance. Both commands take effect or none does, so no message stays for ever.
--
-- KEYS: the stream with the messages
-- ARGV: the milliseconds until an unread message expires, how many messages there may be, and the message's fields

redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], '*', unpack(ARGV, 3))
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 1
