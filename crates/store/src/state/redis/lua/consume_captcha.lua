-- Consumes a captcha, once, unless it has expired.
-- KEYS 1 captcha  ARGV 1 now
local row = redis.call('HMGET', KEYS[1], 'expires', 'run')
if not row[1] or tonumber(row[1]) <= tonumber(ARGV[1]) or row[2] ~= server_id() then
    return 0
end
redis.call('DEL', KEYS[1])
return 1
