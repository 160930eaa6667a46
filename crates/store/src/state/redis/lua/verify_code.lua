-- Checks a guess at a verification code and records it.
-- KEYS after those of rate_limit.lua: the candidate codes
-- ARGV 12   epoch
--      13   whether a correct guess consumes the code
--      14   number of wrong guesses that invalidate a code
--      15.. keyed hash of the guess for each candidate. A constant-time comparison is not needed: a client cannot
--           choose a keyed hash
local state = rate_limit_state()
if state.wait > 0 then
    return { 'blocked', state.wait, 0 }
end
local max_attempts, live, matching = tonumber(ARGV[14]), {}, nil
local first = state.last_key + 1
for n = first, #KEYS do
    local row = redis.call('HMGET', KEYS[n], 'tag', 'epoch', 'tries')
    local tries = tonumber(row[3])
    if row[1] and is_code_live(KEYS[n], now) and row[2] == ARGV[12] and tries < max_attempts then
        if row[1] == ARGV[15 + n - first] then
            matching = matching or n
        end
        table.insert(live, { key = KEYS[n], tries = tries + 1 })
    end
end
if matching then
    if ARGV[13] ~= '' then
        redis.call('DEL', KEYS[matching])
        clear_own_failures(state)
    end
    return { 'right', matching - first, 0 }
end
for _, code in ipairs(live) do
    if code.tries >= max_attempts then
        redis.call('DEL', code.key)
    else
        redis.call('HSET', code.key, 'tries', code.tries)
    end
end
record_failure(state)
return { 'wrong', 0, 0 }
