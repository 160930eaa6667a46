-- Health check that the server accepts writes: fails on a replica, with full memory, and after a failed save to disk.
-- KEYS 1 birth
birth(KEYS[1])
redis.call('HSET', KEYS[1], 'written', string.format('%.0f', server_time()))
return 1
