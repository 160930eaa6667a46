-- Asks the limits and counts nothing.
local s = standing()
if s.wait > 0 then
    return { 'blocked', s.wait, 0 }
end
return { 'open', s.account.budget.failures, s.known and 1 or 0 }
