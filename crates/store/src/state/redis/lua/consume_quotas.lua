-- Counts one use of each quota and stores a code; neither if a quota is exceeded. On a cluster without the code, which
-- store_code.lua stores in the account's slot.
-- KEYS 1 to n: the quotas; then the code, if there is one
-- ARGV 1 now  2 n  3 keyed hash of the code  4 its epoch  5 its expiry  then for each quota: most uses, window
local now, quotas, wait, exceeded, windows = tonumber(ARGV[1]), tonumber(ARGV[2]), nil, nil, {}
for n = 1, quotas do
    local max, window = tonumber(ARGV[2 * n + 4]), tonumber(ARGV[2 * n + 5])
    local row = redis.call('HMGET', KEYS[n], 'count', 'started')
    local count, started = 0, now
    if row[1] then
        -- A clock that was set back does not extend the window.
        local stored_start = math.min(tonumber(row[2]), now)
        if now < saturating_add(stored_start, window) then
            count, started = tonumber(row[1]), stored_start
        end
    end
    if count >= max then
        wait, exceeded = math.max(wait or 0, saturating_add(started, window) - now), n - 1
    end
    windows[n] = { count = count + 1, started = started, expires = saturating_add(started, window) }
end
if wait then
    return { 'blocked', wait, exceeded }
end
for n, window in ipairs(windows) do
    redis.call('HSET', KEYS[n], 'count', window.count, 'started', window.started)
    expire_at(KEYS[n], window.expires, now)
end
if #KEYS > quotas then
    store_code(KEYS[#KEYS], ARGV[3], ARGV[4], ARGV[5], now)
end
return { 'done', 0, 0 }
