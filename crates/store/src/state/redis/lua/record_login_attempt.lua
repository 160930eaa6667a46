-- Records a login attempt. All reads precede all writes.
-- KEYS after those of rate_limit.lua: birth; then, each only if ARGV has its value: used proof, repeat permit, code,
--      session, index of the user's sessions
-- ARGV 12   second in which the proof was made, '' if it need not be fresh
--      13   'right' or 'wrong'
--      14   expiry of the used proof, '' for none
--      15   whether a code must be consumed
--      16   whether to trust the origin and clear its failures
--      17   expiry of the repeat permit, '' for none
--      18   whether the proof is known to be used, so that it needs the permit
--      19.. the session, as `store_session` reads it, '' for none
local PERMIT_MARGIN = 60000
local made = tonumber(ARGV[12])
if made or (ARGV[13] == 'right' and (ARGV[14] ~= '' or ARGV[15] ~= '')) then
    if not is_same_server() then
        return new_server_error()
    end
end
local state = rate_limit_state()
if state.wait > 0 then
    return { 'blocked', state.wait, 0 }
end
if made and made <= math.floor(birth(KEYS[state.last_key + 1]) / 1000000) then
    return { 'stale', 0, 0 }
end
if ARGV[13] == 'wrong' then
    record_failure(state)
    return { 'done', 0, 0 }
end

local last_key = state.last_key + 1
local function next_key_if(present)
    if present then
        last_key = last_key + 1
        return KEYS[last_key]
    end
end
local used_proof = next_key_if(ARGV[14] ~= '')
local permit = next_key_if(ARGV[17] ~= '')
local code = next_key_if(ARGV[15] ~= '')
local session = next_key_if(ARGV[19] ~= '')
local index = next_key_if(ARGV[19] ~= '')

local function is_live(key)
    return (tonumber(redis.call('GET', key)) or 0) > now
end
local used_before = ARGV[18] ~= '' or (used_proof and is_live(used_proof))
local permitted_repeat = used_before and permit and is_live(permit)
if used_before and not permitted_repeat then
    return { 'replayed', 0, 0 }
end
if code and not is_code_live(code, now) then
    return { 'codegone', 0, 0 }
end
if code then
    redis.call('DEL', code)
end
if used_proof then
    -- The expiry is 70 minutes beyond freshness, which is more than clocks may differ by (docs/adr/0011).
    store_until(used_proof, tonumber(ARGV[14]), now, 0)
end
if permitted_repeat then
    redis.call('DEL', permit)
elseif permit then
    -- A permit that is deleted early only rejects a repetition.
    store_until(permit, tonumber(ARGV[17]), now, PERMIT_MARGIN)
end
if ARGV[16] ~= '' then
    clear_own_failures(state)
    trust_origin(state)
end
if session then
    store_session(session, index, now, 19)
end
return { 'done', 0, 0 }
