-- Checks the rate limits of a login attempt. Counts nothing. KEYS and ARGV as in rate_limit.lua.
local state = rate_limit_state()
if state.wait > 0 then
    return { 'blocked', state.wait, 0 }
end
return { 'open', state.account.budget.failures, state.is_trusted and 1 or 0 }
