-- Books an attempt to log in. Everything is asked before anything is written.
-- KEYS after standing's: birth, then those there are of: replay mark, permit to repeat it, code, session and the index of its
--      user's sessions
-- ARGV 12 the second the proof was made  13 'right' or 'wrong'  14 until when the proof is remembered  15 whether
--      there is a code  16 whether to forgive and to know  17 until when the proof may be repeated, '' for not at all
--      18 whether it is known to be used  from 19: the session, as `put_session` reads it; '' for none
local made = tonumber(ARGV[12])
if made or (ARGV[13] == 'right' and (ARGV[14] ~= '' or ARGV[15] ~= '')) then
    if not is_same_server() then
        return new_server()
    end
end
local s = standing()
if s.wait > 0 then
    return { 'blocked', s.wait, 0 }
end
if made and made <= math.floor(birth(KEYS[s.last + 1]) / 1000000) then
    return { 'stale', 0, 0 }
end
if ARGV[13] == 'wrong' then
    fail(s)
    return { 'done', 0, 0 }
end

local last = s.last + 1
local function key_if(there)
    if there then
        last = last + 1
        return KEYS[last]
    end
end
local replay = key_if(ARGV[14] ~= '')
local permit = key_if(ARGV[17] ~= '')
local code = key_if(ARGV[15] ~= '')
local session = key_if(ARGV[19] ~= '')
local index = key_if(ARGV[19] ~= '')

local function is_noted(key)
    return (tonumber(redis.call('GET', key)) or 0) > now
end
local used = ARGV[18] ~= '' or (replay and is_noted(replay))
local repeated = used and permit and is_noted(permit)
if used and not repeated then
    return { 'replayed', 0, 0 }
end
if code and not code_lives(code, now) then
    return { 'codegone', 0, 0 }
end
if code then
    redis.call('DEL', code)
end
if replay then
    note_until(replay, tonumber(ARGV[14]), now)
end
if repeated then
    redis.call('DEL', permit)
elseif permit then
    note_until(permit, tonumber(ARGV[17]), now)
end
if ARGV[16] ~= '' then
    forgive(s)
    know(s)
end
if session then
    put_session(session, index, now, 19)
end
return { 'done', 0, 0 }
