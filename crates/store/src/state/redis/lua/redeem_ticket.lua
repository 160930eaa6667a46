-- Redeems a ticket once. A ticket of another kind or audience, or an expired one, is left in place.
-- KEYS 1 ticket  ARGV 1 now  2 kind  3 audience
local row = redis.call('HMGET', KEYS[1], 'kind', 'audience', 'expires', 'run', 'user', 'epoch', 'source')
if row[1] ~= ARGV[2] or row[2] ~= ARGV[3] or tonumber(row[3]) <= tonumber(ARGV[1]) or row[4] ~= server_id() then
    return false
end
redis.call('DEL', KEYS[1])
return { row[5], row[6], row[7], row[3] }
