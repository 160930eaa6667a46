-- Undoes the failure that check_origin.lua counted for an attempt that the account then rejected.
-- KEYS and ARGV 1-5 as in check_origin.lua  ARGV 6.. failures, started, blocked of each budget before, '' for none
local function revert(key, limit, before)
    local row = redis.call('HMGET', key, 'failures', 'started', 'blocked')
    if not row[1] then
        return
    end
    local stored = { failures = tonumber(row[1]), started = tonumber(row[2]), blocked = tonumber(row[3]) }
    local counted = budget_fail(before and budget_at(before, now, limit) or budget_fresh(now), now, limit)
    local is_unchanged = stored.failures == counted.failures and stored.started == counted.started
        and stored.blocked == counted.blocked
    local left = before
    if not is_unchanged then
        -- Another attempt has counted since. A window that began later does not contain this failure.
        if stored.started ~= counted.started then
            return
        end
        local failures = stored.failures - 1
        local is_blocked = limit.base or failures >= limit.free
        local blocked = is_blocked and stored.blocked or stored.started
        left = failures > 0 and { failures = failures, started = stored.started, blocked = blocked }
    end
    if not left then
        redis.call('DEL', key)
        return
    end
    write_budget(key, left)
    expire_at(key, budget_expires(left, limit), now)
end

local n = 0
for free in string.gmatch(ARGV[2], '%d+') do
    local first, before = 6 + 3 * n, nil
    if ARGV[first] ~= '' then
        before = {
            failures = tonumber(ARGV[first]), started = tonumber(ARGV[first + 1]), blocked = tonumber(ARGV[first + 2])
        }
    end
    n = n + 1
    revert(KEYS[n], failure_limit(free, ARGV[3], ARGV[4], ARGV[5]), before)
end
return 1
