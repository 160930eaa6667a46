-- Codes, sessions and tickets. A code or ticket is valid only on the server that stored it, in the same replication
-- history: a restored server may hold consumed ones.
local function is_code_live(key, now)
    local row = redis.call('HMGET', key, 'expires', 'run')
    return row[1] and tonumber(row[1]) > now and row[2] == server_id()
end

local function store_code(code, tag, epoch, expires, now)
    redis.call('DEL', code)
    redis.call('HSET', code, 'tag', tag, 'epoch', epoch, 'tries', 0, 'expires', expires, 'run', server_id())
    expire_at(code, tonumber(expires), now)
end

-- Stores the fields of a record, whose names and values ARGV has from `first` on. Overwrites all fields of an existing
-- record, which are the same.
local function store_record(key, expires, now, first)
    redis.call('HSET', key, unpack(ARGV, first))
    expire_at(key, expires, now)
end
