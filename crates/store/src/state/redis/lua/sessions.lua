-- The index of a user's sessions: a sorted set of token hashes (32 bytes, which end the sessions' keys in hex) scored
-- by the creation time of the session. It expires with the last session. Expired sessions stay in it until it exceeds
-- the limit.

-- Entries beyond the oldest that a login over the limit checks for expired sessions.
local SAMPLE = 32
-- Most sessions that one login ends after the limit was lowered.
local MAX_ENDED_PER_LOGIN = 1000

-- Milliseconds added to the TTL of the index, so that most logins need not extend it.
local SPARE = 3600000

local function index_session(index, member, created, expires, now)
    redis.call('ZADD', index, created, member)
    local ttl = tonumber(ttl_millis(expires, now))
    if redis.call('PTTL', index) < ttl then
        redis.call('PEXPIRE', index, string.format('%.0f', math.min(ttl + SPARE, MAX_EXACT_INTEGER / 1000 + MARGIN)))
    end
end

-- The number of sessions above `limit`, and the members to check. These are the oldest, one more than the excess, since
-- the new session may be among them by the clock of another instance; then a sample of the others, at a varying offset.
local function excess_sessions(index, limit, now)
    local excess = math.min(redis.call('ZCARD', index) - limit, MAX_ENDED_PER_LOGIN)
    if excess <= 0 then
        return { 0, {} }
    end
    local members, from = redis.call('ZRANGE', index, 0, excess), excess + 1
    if limit > SAMPLE then
        from = from + now % (limit - SAMPLE)
    end
    for _, member in ipairs(redis.call('ZRANGE', index, from, from + SAMPLE - 1)) do
        table.insert(members, member)
    end
    return { excess, members }
end

-- The key of the session of `member`, with the prefix of `session`, which is the key of another session.
local function session_key(member, session)
    local hex = string.gsub(member, '.', function(byte) return string.format('%02x', string.byte(byte)) end)
    return string.sub(session, 1, -65) .. hex
end

-- Removes expired sessions from an index over its limit, then ends the oldest sessions that still exceed it, but never
-- `new`.
local function end_excess_sessions(session, index, new, limit, now)
    local excess, members = unpack(excess_sessions(index, limit, now))
    local live = {}
    for _, member in ipairs(members) do
        if (tonumber(redis.call('HGET', session_key(member, session), 'expires')) or 0) <= now then
            redis.call('ZREM', index, member)
            excess = excess - 1
        elseif member ~= new then
            table.insert(live, member)
        end
    end
    for n = 1, math.min(excess, #live) do
        redis.call('DEL', session_key(live[n], session))
        redis.call('ZREM', index, live[n])
    end
end

-- Stores the session that ARGV has from `first` on: session limit, expiry, member, creation time, then names and values
-- of fields. With an index, adds it there and ends excess sessions. On one server, a script may access keys that are
-- not in KEYS; on a cluster it may not (docs/adr/0032-index-each-users-sessions.md).
local function store_session(session, index, now, first)
    local limit, expires = tonumber(ARGV[first]), tonumber(ARGV[first + 1])
    local member, created = ARGV[first + 2], ARGV[first + 3]
    store_record(session, expires, now, first + 4)
    if index then
        index_session(index, member, created, expires, now)
        end_excess_sessions(session, index, member, limit, now)
    end
end
