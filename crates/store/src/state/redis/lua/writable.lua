-- Notes that the store can be written: fails at a replica, with a full memory, and after a failed save.
-- KEYS 1 birth
birth(KEYS[1])
redis.call('HSET', KEYS[1], 'written', string.format('%.0f', server_time()))
return 1
