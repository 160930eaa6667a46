-- What the scripts share. All instants and spans are microseconds by the caller's clock, which alone decides what is
-- still good. The server's clock only clears away, MARGIN milliseconds after the caller's would have.
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

-- Changes whenever the server is another one or was started anew: then what it holds may be from before a crash.
local function server_run()
    return (assert(string.match(redis.call('INFO', 'server'), 'run_id:(%w+)'), 'the server does not tell its run_id'))
end

-- When this store came up empty or may have lost something, noting it if nobody has.
local function birth(key, now)
    local noted = redis.call('HMGET', key, 'at', 'run')
    local at, run = tonumber(noted[1]), server_run()
    if at and noted[2] == run then
        return at
    end
    at = math.max(at or now, now)
    redis.call('HSET', key, 'at', at, 'run', run)
    return at
end
