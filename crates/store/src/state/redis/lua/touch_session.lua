-- KEYS 1 session  2 the index of its user's sessions, where one server has both
-- ARGV 1 now  2 when it was seen  3 its end  4 its member  5 when it was opened
if redis.call('EXISTS', KEYS[1]) == 0 then
    return 0
end
redis.call('HSET', KEYS[1], 'last_seen', ARGV[2], 'expires', ARGV[3])
keep_until(KEYS[1], tonumber(ARGV[3]), tonumber(ARGV[1]))
if KEYS[2] then
    list_session(KEYS[2], ARGV[4], ARGV[5], tonumber(ARGV[3]), tonumber(ARGV[1]))
end
return 1
