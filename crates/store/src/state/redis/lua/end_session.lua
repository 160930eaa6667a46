-- Ends a session. KEYS 1 session  2 index of its user's sessions  ARGV 1 its member of the index
redis.call('ZREM', KEYS[2], ARGV[1])
return redis.call('DEL', KEYS[1])
