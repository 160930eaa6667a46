-- Stores a ticket. KEYS 1 ticket  ARGV 1 now  2 expiry  from 3: names and values of its fields
store_record(KEYS[1], tonumber(ARGV[2]), tonumber(ARGV[1]), 3)
redis.call('HSET', KEYS[1], 'run', server_id())
return 1
