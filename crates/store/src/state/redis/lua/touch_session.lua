-- KEYS 1 session  ARGV 1 now  2 when it was seen  3 its end
if redis.call('EXISTS', KEYS[1]) == 1 then
    redis.call('HSET', KEYS[1], 'last_seen', ARGV[2], 'expires', ARGV[3])
    keep_until(KEYS[1], tonumber(ARGV[3]), tonumber(ARGV[1]))
end
return 1
