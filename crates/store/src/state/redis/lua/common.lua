-- What the scripts share. All instants and spans are microseconds by the caller's clock, which alone decides what is
-- still good. The server's clock dates births, and clears away MARGIN milliseconds after the caller's would have.
local MARGIN = 600000
-- Lua counts in doubles. Beyond this they skip numbers; it is in the year 2255.
local LAST = 9007199254740991

local function after(instant, span)
    return math.min(instant + span, LAST)
end

-- The milliseconds that what is good until `expires` is kept for.
local function kept_for(expires, now)
    local left = math.max(math.ceil((expires - now) / 1000), 0)
    -- PEXPIRE takes no span that ends after the 63-bit milliseconds do.
    return string.format('%.0f', math.min(left, LAST / 1000) + MARGIN)
end

local function keep_until(key, expires, now)
    redis.call('PEXPIRE', key, kept_for(expires, now))
end

-- Notes an instant until when it is so, for as long.
local function note_until(key, expires, now)
    redis.call('SET', key, string.format('%.0f', expires), 'PX', kept_for(expires, now))
end

-- The last two arguments of every script: the server that the connection led to when it was made (see `server_id`), ''
-- before the first; and what counts as the server's time where a test sets the clock, '' everywhere else.
local set_clock, connected_to = table.remove(ARGV), table.remove(ARGV)

-- The server's own time: births must not depend on the clock of whichever machine notices one first.
local function server_time()
    local time = redis.call('TIME')
    return tonumber(set_clock) or time[1] * 1000000 + time[2]
end

local this_server

-- Which server this is, and in which history of its data. `master_replid` is another after a restart, a promotion, and
-- a resynchronization, which can bring back what was used up and leaves the `run_id`.
local function server_id()
    if not this_server then
        local info = redis.call('INFO', 'replication')
        this_server = assert(string.match(info, 'master_replid:(%w+)'), 'INFO replication has no master_replid')
    end
    return this_server
end

-- Whether the connection still leads to the server that it was made to. If not, `new_server()` is the answer, upon which
-- the caller reconnects, and that notes a new birth.
local function is_same_server()
    return connected_to == '' or connected_to == server_id()
end

local function new_server()
    return redis.error_reply('NEWSERVER the connection leads to another server than before')
end

-- When this store came up empty or may have lost something, noting it if that was not done yet: there is no record, or
-- one of another server, or the connection's last server was another one. (A master that was frozen, replaced, and
-- promoted again has a record of its own, from before.)
local function birth(key)
    local noted, id = redis.call('HMGET', key, 'at', 'server'), server_id()
    local at = tonumber(noted[1])
    if at and noted[2] == id and (connected_to == '' or connected_to == id) then
        return at
    end
    local now = server_time()
    at = math.max(at or now, now)
    -- `run` is what instances of an earlier version compare: they must not note births in turn with this one.
    local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') or ''
    redis.call('HSET', key, 'at', string.format('%.0f', at), 'run', run, 'server', id)
    return at
end
