-- The index of a user's sessions: a sorted set of their token hashes (32 bytes, what their keys end with in hex), by
-- when they were opened. It lives as long as the last of them. Sessions that expired stay in it until it is crowded.

-- How many of the entries that are not among the oldest are looked at when it is crowded.
local SAMPLE = 32
-- The most sessions that one login ends, where the bound was lowered.
local MOST_ENDED = 1000

-- Milliseconds that the index is kept longer than it has to be, for most logins to find it kept for long enough.
local SPARE = 3600000

local function list_session(index, member, created, expires, now)
    redis.call('ZADD', index, created, member)
    local kept = tonumber(kept_for(expires, now))
    if redis.call('PTTL', index) < kept then
        redis.call('PEXPIRE', index, string.format('%.0f', math.min(kept + SPARE, LAST / 1000 + MARGIN)))
    end
end

-- How many sessions are more than `most`, and those to look at: the oldest, one more than that, for the new one may be
-- among them by the clock of another instance; then some of the others, from another place each time.
local function crowd(index, most, now)
    local over = math.min(redis.call('ZCARD', index) - most, MOST_ENDED)
    if over <= 0 then
        return { 0, {} }
    end
    local members, from = redis.call('ZRANGE', index, 0, over), over + 1
    if most > SAMPLE then
        from = from + now % (most - SAMPLE)
    end
    for _, member in ipairs(redis.call('ZRANGE', index, from, from + SAMPLE - 1)) do
        table.insert(members, member)
    end
    return { over, members }
end

-- The key of the session with this member, where `session` is that of another one.
local function session_of(member, session)
    local hex = string.gsub(member, '.', function(byte) return string.format('%02x', string.byte(byte)) end)
    return string.sub(session, 1, -65) .. hex
end

-- Ends the oldest sessions of a crowded index but the new one, once those that expired do not count any more.
local function make_room(session, index, new, most, now)
    local over, members = unpack(crowd(index, most, now))
    local live = {}
    for _, member in ipairs(members) do
        if (tonumber(redis.call('HGET', session_of(member, session), 'expires')) or 0) <= now then
            redis.call('ZREM', index, member)
            over = over - 1
        elseif member ~= new then
            table.insert(live, member)
        end
    end
    for n = 1, math.min(over, #live) do
        redis.call('DEL', session_of(live[n], session))
        redis.call('ZREM', index, live[n])
    end
end

-- Stores the session that ARGV has from `first` on: how many its user may have, its end, its member, when it was opened,
-- its fields. With an index, lists it there and makes room: a script may reach for keys that it was not given on one
-- server, but not on a cluster (docs/adr/0032-index-each-users-sessions.md).
local function put_session(session, index, now, first)
    local most, expires = tonumber(ARGV[first]), tonumber(ARGV[first + 1])
    local member, created = ARGV[first + 2], ARGV[first + 3]
    put_record(session, expires, now, first + 4)
    if index then
        list_session(index, member, created, expires, now)
        make_room(session, index, member, most, now)
    end
end
