-- Checks a guess at a code and books it.
-- KEYS from 5: the codes it may be
-- ARGV 11 the epoch  12 whether a right guess uses the code up  13 how many wrong ones burn it  from 14: what the
--      keyed hash would be at each. (Comparing keyed hashes tells a guesser nothing by its time.)
local s = standing()
if s.wait > 0 then
    return { 'blocked', s.wait, 0 }
end
local max_tries, live, right = tonumber(ARGV[13]), {}, nil
for n = 5, #KEYS do
    local row = redis.call('HMGET', KEYS[n], 'tag', 'epoch', 'tries')
    local tries = tonumber(row[3])
    if row[1] and code_lives(KEYS[n], now) and row[2] == ARGV[11] and tries < max_tries then
        if row[1] == ARGV[n + 9] then
            right = right or n
        end
        table.insert(live, { key = KEYS[n], tries = tries + 1 })
    end
end
if right then
    if ARGV[12] ~= '' then
        redis.call('DEL', KEYS[right])
        forgive(s)
    end
    return { 'right', right - 5, 0 }
end
for _, code in ipairs(live) do
    if code.tries >= max_tries then
        redis.call('DEL', code.key)
    else
        redis.call('HSET', code.key, 'tries', code.tries)
    end
end
fail(s)
return { 'wrong', 0, 0 }
