-- Counts one use of each, and keeps a code; or, if one is over its quota, neither.
-- KEYS 1-n what is counted, then the code
-- ARGV 1 now  2 n  3 the code's tag  4 its epoch  5 its end  then for each use: how often, and within how long
local now, wanted, wait, last, windows = tonumber(ARGV[1]), tonumber(ARGV[2]), nil, nil, {}
for n = 1, wanted do
    local max, window = tonumber(ARGV[2 * n + 4]), tonumber(ARGV[2 * n + 5])
    local row = redis.call('HMGET', KEYS[n], 'count', 'started')
    local count, started = 0, now
    if row[1] then
        -- If the clock was set back, the window is not drawn out by it.
        local begun = math.min(tonumber(row[2]), now)
        if now < after(begun, window) then
            count, started = tonumber(row[1]), begun
        end
    end
    if count >= max then
        wait, last = math.max(wait or 0, after(started, window) - now), n - 1
    end
    windows[n] = { count = count + 1, started = started, expires = after(started, window) }
end
if wait then
    return { 'blocked', wait, last }
end
for n, window in ipairs(windows) do
    redis.call('HSET', KEYS[n], 'count', window.count, 'started', window.started)
    keep_until(KEYS[n], window.expires, now)
end
if #KEYS > wanted then
    local code = KEYS[#KEYS]
    local expires = tonumber(ARGV[5])
    redis.call('DEL', code)
    redis.call('HSET', code, 'tag', ARGV[3], 'epoch', ARGV[4], 'tries', 0, 'expires', ARGV[5], 'run', server_id())
    keep_until(code, expires, now)
end
return { 'done', 0, 0 }
