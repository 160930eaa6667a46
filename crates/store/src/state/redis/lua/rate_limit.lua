-- The rate limit state of a login attempt. On a cluster, the scripts that run in the account's slot get no origins:
-- those of check_origin.lua are in another slot.
-- KEYS 1    the account's trust in the origin
--      2    the account's budget
--      3    the budget of the trusted origin at the account
--      4..  the budgets of the origin and of its enclosing networks, one for each number in ARGV 6
--      then the keys of the script
-- ARGV 1    now
--      2-5  rate limit of the account: free failures, window, base, cap
--      6-9  rate limits of the origins: free failures of each, separated by spaces; window, base, cap
--      10   for how long an origin is trusted
--      11   field of the account's budget with this origin's share of the failures
--      then the arguments of the script
local now = tonumber(ARGV[1])

-- Loads a budget. `share_field` is the field with the origin's share of the failures; nil for a budget without shares.
local function load_budget(key, limit, share_field)
    local row
    if share_field then
        row = redis.call('HMGET', key, 'failures', 'started', 'blocked', share_field)
    else
        row = redis.call('HMGET', key, 'failures', 'started', 'blocked')
    end
    local budget, own = budget_fresh(now), 0
    if row[1] then
        local stored = { failures = tonumber(row[1]), started = tonumber(row[2]), blocked = tonumber(row[3]) }
        budget = budget_at(stored, now, limit)
        -- A share of failures in a window that has ended does not count.
        own = budget.failures > 0 and tonumber(row[4] or 0) or 0
    end
    return {
        key = key, limit = limit, budget = budget, is_stored = row[1], row = row, share_field = share_field, own = own
    }
end

local function rate_limit_state()
    local trusted_until = tonumber(redis.call('GET', KEYS[1])) or 0
    local is_trusted = trusted_until > now
    local account_limit = failure_limit(ARGV[2], ARGV[3], ARGV[4], ARGV[5])
    local account = is_trusted and load_budget(KEYS[3], account_limit)
        or load_budget(KEYS[2], account_limit, ARGV[11])
    local wait, origins = budget_wait(account.budget, now), {}
    for free in string.gmatch(ARGV[6], '%d+') do
        local origin = load_budget(KEYS[4 + #origins], failure_limit(free, ARGV[7], ARGV[8], ARGV[9]))
        wait = math.max(wait, budget_wait(origin.budget, now))
        table.insert(origins, origin)
    end
    -- `last_key` is the index of the last key that the head of this file lists.
    return {
        is_trusted = is_trusted, trusted_until = trusted_until, account = account, origins = origins, wait = wait,
        last_key = 3 + #origins
    }
end

-- Makes the origin trusted by the account from now on. Writes nothing unless that extends the trust by at least a
-- thousandth.
local function trust_origin(state)
    local trust_duration = tonumber(ARGV[10])
    if state.trusted_until < saturating_add(now, math.floor(trust_duration - trust_duration / 1000)) then
        store_until(KEYS[1], saturating_add(now, trust_duration), now, MARGIN)
    end
end

local function write_budget(key, budget)
    redis.call('HSET', key, 'failures', budget.failures, 'started', budget.started, 'blocked', budget.blocked)
end

local function record_failure_in(entry)
    local budget = budget_fail(entry.budget, now, entry.limit)
    -- A new window starts without the shares of the last one.
    if entry.share_field and entry.is_stored and entry.budget.failures == 0 then
        redis.call('DEL', entry.key)
    end
    write_budget(entry.key, budget)
    local own = entry.share_field and budget_attribute(budget, entry.own) or 0
    if own > 0 then
        redis.call('HSET', entry.key, entry.share_field, own)
    end
    expire_at(entry.key, budget_expires(budget, entry.limit), now)
end

-- Counts a failure against the account and the origins.
local function record_failure(state)
    record_failure_in(state.account)
    for _, origin in ipairs(state.origins) do
        record_failure_in(origin)
    end
end

-- Clears the account's failures that came from this origin. The origin's own budgets are unchanged.
local function clear_own_failures(state)
    local entry = state.account
    if not entry.is_stored then
        return
    end
    local left = entry.share_field and budget_clear_own(entry.budget, entry.own)
    if not left then
        redis.call('DEL', entry.key)
    elseif entry.own > 0 then
        write_budget(entry.key, left)
        redis.call('HDEL', entry.key, entry.share_field)
    end
end
