-- Counts a view of a captcha, unless it has expired or has no views left.
-- KEYS 1 captcha  ARGV 1 now  2 most views
local row = redis.call('HMGET', KEYS[1], 'expires', 'run', 'views')
if not row[1] or tonumber(row[1]) <= tonumber(ARGV[1]) or row[2] ~= server_id()
    or tonumber(row[3] or 0) >= tonumber(ARGV[2]) then
    return 0
end
redis.call('HINCRBY', KEYS[1], 'views', 1)
return 1
