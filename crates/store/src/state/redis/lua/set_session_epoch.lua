-- Sets the epoch of a session. KEYS 1 session  ARGV 1 epoch
if redis.call('EXISTS', KEYS[1]) == 1 then
    redis.call('HSET', KEYS[1], 'epoch', ARGV[1])
end
return 1
