-- Updates the last use and the expiry of a session.
-- KEYS 1 session  2 index of its user's sessions, on one server only
-- ARGV 1 now  2 last use  3 expiry  4 member  5 creation time
if redis.call('EXISTS', KEYS[1]) == 0 then
    return 0
end
redis.call('HSET', KEYS[1], 'last_seen', ARGV[2], 'expires', ARGV[3])
expire_at(KEYS[1], tonumber(ARGV[3]), tonumber(ARGV[1]))
if KEYS[2] then
    index_session(KEYS[2], ARGV[4], ARGV[5], tonumber(ARGV[3]), tonumber(ARGV[1]))
end
return 1
