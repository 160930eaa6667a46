-- Checks the rate limits of an attempt's origin and of its enclosing networks, and may count a failure. Returns the
-- longest wait, 0 for none; then, if a failure was counted, the fields of each budget as they were stored before (''
-- for none), with which revert_failure.lua undoes the count.
-- KEYS the budgets, narrowest network first
-- ARGV 1 now  2-5 rate limits: free failures of each, separated by spaces; window, base, cap
--      6 whether to count a failure
local origins, wait = {}, 0
for free in string.gmatch(ARGV[2], '%d+') do
    local origin = load_budget(KEYS[1 + #origins], failure_limit(free, ARGV[3], ARGV[4], ARGV[5]))
    wait = math.max(wait, budget_wait(origin.budget, now))
    table.insert(origins, origin)
end
local reply = { string.format('%.0f', wait) }
if wait > 0 or ARGV[6] == '' then
    return reply
end
for _, origin in ipairs(origins) do
    record_failure_in(origin)
    for field = 1, 3 do
        table.insert(reply, origin.row[field] or '')
    end
end
return reply
