-- Books an attempt to log in. Everything is asked before anything is written.
-- KEYS 5 birth, then those there are of: replay mark, code, session and the index of its user's sessions
-- ARGV 11 the second the proof was made  12 'right' or 'wrong'  13 until when the proof is remembered  14 whether
--      there is a code  15 whether to forgive and to know  from 16: the session, as `put_session` reads it; '' for none
local made = tonumber(ARGV[11])
if made or (ARGV[12] == 'right' and (ARGV[13] ~= '' or ARGV[14] ~= '')) then
    require_same_server()
end
local s = standing()
if s.wait > 0 then
    return { 'blocked', s.wait, 0 }
end
if made and made <= math.floor(birth(KEYS[5]) / 1000000) then
    return { 'stale', 0, 0 }
end
if ARGV[12] == 'wrong' then
    fail(s)
    return { 'done', 0, 0 }
end

local last = 5
local function key_if(there)
    if there then
        last = last + 1
        return KEYS[last]
    end
end
local replay = key_if(ARGV[13] ~= '')
local code = key_if(ARGV[14] ~= '')
local session = key_if(ARGV[16] ~= '')
local index = key_if(ARGV[16] ~= '')

if replay and (tonumber(redis.call('GET', replay)) or 0) > now then
    return { 'replayed', 0, 0 }
end
if code and not code_lives(code, now) then
    return { 'codegone', 0, 0 }
end
if code then
    redis.call('DEL', code)
end
if replay then
    note_until(replay, tonumber(ARGV[13]), now)
end
if ARGV[15] ~= '' then
    forgive(s)
    note_until(KEYS[1], after(now, tonumber(ARGV[10])), now)
end
if session then
    put_session(session, index, now, 16)
end
return { 'done', 0, 0 }
