-- Checks a guess at a code and books it.
-- KEYS after standing's: the codes it may be
-- ARGV 12 the epoch  13 whether a right guess uses the code up  14 how many wrong ones burn it  from 15: what the
--      keyed hash would be at each. (Comparing keyed hashes tells a guesser nothing by its time.)
local s = standing()
if s.wait > 0 then
    return { 'blocked', s.wait, 0 }
end
local max_tries, live, right = tonumber(ARGV[14]), {}, nil
local first = s.last + 1
for n = first, #KEYS do
    local row = redis.call('HMGET', KEYS[n], 'tag', 'epoch', 'tries')
    local tries = tonumber(row[3])
    if row[1] and code_lives(KEYS[n], now) and row[2] == ARGV[12] and tries < max_tries then
        if row[1] == ARGV[15 + n - first] then
            right = right or n
        end
        table.insert(live, { key = KEYS[n], tries = tries + 1 })
    end
end
if right then
    if ARGV[13] ~= '' then
        redis.call('DEL', KEYS[right])
        forgive(s)
    end
    return { 'right', right - first, 0 }
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
