-- The candidate codes of a guess: those that are live, and the index of the first that matches, nil for none.
-- A constant-time comparison is not needed: a client cannot choose a keyed hash.
-- `first_key` and `first_arg` are the indexes in KEYS of the first code, and in ARGV of the keyed hash for it.
local function match_codes(first_key, first_arg, epoch, max_attempts)
    local live, matching = {}, nil
    for n = first_key, #KEYS do
        local row = redis.call('HMGET', KEYS[n], 'tag', 'epoch', 'tries')
        local tries = tonumber(row[3])
        if row[1] and is_code_live(KEYS[n], now) and row[2] == epoch and tries < max_attempts then
            if row[1] == ARGV[first_arg + n - first_key] then
                matching = matching or n
            end
            table.insert(live, { key = KEYS[n], tries = tries + 1 })
        end
    end
    return live, matching
end
