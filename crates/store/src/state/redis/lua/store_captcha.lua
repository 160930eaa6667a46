-- Stores a captcha. KEYS 1 captcha  ARGV 1 now  2 expiry
redis.call('HSET', KEYS[1], 'expires', ARGV[2], 'run', server_id(), 'views', 0)
expire_at(KEYS[1], tonumber(ARGV[2]), tonumber(ARGV[1]))
return 1
