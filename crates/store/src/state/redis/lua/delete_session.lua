-- Ends a session whose entry in the index is removed separately: 'none' if there was none, 'expired' or 'live'.
-- KEYS 1 session  ARGV 1 now
local expires = tonumber(redis.call('HGET', KEYS[1], 'expires'))
if redis.call('DEL', KEYS[1]) == 0 then
    return 'none'
end
return expires and expires > tonumber(ARGV[1]) and 'live' or 'expired'
