-- Shared by all scripts. Times and durations are microseconds of the caller's clock, which alone decides whether data
-- has expired. The server's clock is used only for births and for key expiry, MARGIN milliseconds after the caller's
-- expiry.
local MARGIN = 600000
-- Lua numbers are doubles: the largest integer up to which every integer is exact. As a time it is in the year 2255.
local MAX_EXACT_INTEGER = 9007199254740991

local function saturating_add(time, duration)
    return math.min(time + duration, MAX_EXACT_INTEGER)
end

-- Milliseconds until a key is deleted whose data expires at `expires`.
local function ttl_millis(expires, now, margin)
    local left = math.max(math.ceil((expires - now) / 1000), 0)
    -- PEXPIRE rejects a TTL whose end exceeds 63 bits of milliseconds.
    return string.format('%.0f', math.max(math.min(left, MAX_EXACT_INTEGER / 1000) + (margin or MARGIN), 1))
end

local function expire_at(key, expires, now)
    redis.call('PEXPIRE', key, ttl_millis(expires, now))
end

-- Stores `expires` as the value of the key, which is deleted `margin` milliseconds after that time.
local function store_until(key, expires, now, margin)
    redis.call('SET', key, string.format('%.0f', expires), 'PX', ttl_millis(expires, now, margin))
end

-- The last two arguments of every script: the server that the connection was made to (see `server_id`), '' before the
-- first connection; and the server's time where a test sets the clock, '' otherwise.
local manual_clock, expected_server = table.remove(ARGV), table.remove(ARGV)

-- The server's own clock: a birth must not depend on the clock of the instance that records it.
local function server_time()
    local time = redis.call('TIME')
    return tonumber(manual_clock) or time[1] * 1000000 + time[2]
end

local cached_server_id

-- Identifies this server and its replication history. `master_replid` changes with a restart, a promotion, and a full
-- resynchronization, which can bring back used one-time data without changing `run_id`.
local function server_id()
    if not cached_server_id then
        local info = redis.call('INFO', 'replication')
        cached_server_id = assert(string.match(info, 'master_replid:(%w+)'), 'INFO replication has no master_replid')
    end
    return cached_server_id
end

-- Whether the connection still leads to the server that it was made to. If not, the script returns
-- `new_server_error()`, and the caller reconnects, which records a new birth.
local function is_same_server()
    return expected_server == '' or expected_server == server_id()
end

local function new_server_error()
    return redis.error_reply('NEWSERVER the connection leads to another server than before')
end

-- The store's birth: when it was created empty, or may have lost data. Records a new one if there is none, if the
-- record is another server's, or if the connection was made to another server. (A master that was frozen, replaced and
-- promoted again has its own record, which is too old.)
local function birth(key)
    local record, id = redis.call('HMGET', key, 'at', 'server'), server_id()
    local at = tonumber(record[1])
    if at and record[2] == id and (expected_server == '' or expected_server == id) then
        return at
    end
    local now = server_time()
    at = math.max(at or now, now)
    -- Instances of earlier versions compare `run` with the server's `run_id`. Without the field, they and this version
    -- would keep replacing each other's birth.
    local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') or ''
    redis.call('HSET', key, 'at', string.format('%.0f', at), 'run', run, 'server', id)
    return at
end
