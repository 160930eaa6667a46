-- Codes, sessions and tickets. A code and a ticket are good only on the server that took them, in that history of its
-- data: one that was restored, from a disk or another server, may hold what was used up.
local function code_lives(key, now)
    local row = redis.call('HMGET', key, 'expires', 'run')
    return row[1] and tonumber(row[1]) > now and row[2] == server_id()
end

-- Stores the fields of ARGV from `first` on, in place of what is there, which has the same fields.
local function put_record(key, expires, now, first)
    redis.call('HSET', key, unpack(ARGV, first))
    keep_until(key, expires, now)
end
