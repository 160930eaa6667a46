-- Checks a guess at a verification code and records it.
-- KEYS after those of rate_limit.lua: the candidate codes
-- ARGV 12   epoch
--      13   whether a correct guess consumes the code
--      14   number of wrong guesses that invalidate a code
--      15   '' to check and record. On a cluster first 'peek', which changes nothing; then, after the origin's check,
--           the result of the peek: 'wrong' records a failure; 'right' checks again, and replies 'changed' if the
--           guess is wrong now
--      16.. keyed hash of the guess for each candidate
local state = rate_limit_state()
if state.wait > 0 then
    return { 'blocked', state.wait, 0 }
end
local max_attempts, first = tonumber(ARGV[14]), state.last_key + 1
local live, matching = match_codes(first, 16, ARGV[12], max_attempts)
if ARGV[15] == 'peek' then
    return { matching and 'right' or 'wrong', matching and matching - first or 0, 0 }
end
if matching and ARGV[15] ~= 'wrong' then
    if ARGV[13] ~= '' then
        redis.call('DEL', KEYS[matching])
        clear_own_failures(state)
    end
    return { 'right', matching - first, 0 }
end
if ARGV[15] == 'right' then
    return { 'changed', 0, 0 }
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
