-- What the limits say of an attempt.
-- KEYS 1 known  2 the account's budget  3 the origin's own budget there  4 the origin's budget
-- ARGV 1 now  2-5 the account's schedule  6-9 the origin's  10 how long an origin is known
local now = tonumber(ARGV[1])

local function line(key, s)
    local row = redis.call('HMGET', key, 'failures', 'started', 'blocked')
    local budget = budget_fresh(now)
    if row[1] then
        local stored = { failures = tonumber(row[1]), started = tonumber(row[2]), blocked = tonumber(row[3]) }
        budget = budget_at(stored, now, s)
    end
    return { key = key, schedule = s, budget = budget, noted = row[1] }
end

local function standing()
    local known = (tonumber(redis.call('GET', KEYS[1])) or 0) > now
    local account = line(known and KEYS[3] or KEYS[2], schedule(ARGV[2], ARGV[3], ARGV[4], ARGV[5]))
    local origin = line(KEYS[4], schedule(ARGV[6], ARGV[7], ARGV[8], ARGV[9]))
    local wait = math.max(budget_wait(account.budget, now), budget_wait(origin.budget, now))
    return { known = known, account = account, origin = origin, wait = wait }
end

local function fail_line(l)
    local budget = budget_fail(l.budget, now, l.schedule)
    redis.call('HSET', l.key, 'failures', budget.failures, 'started', budget.started, 'blocked', budget.blocked)
    keep_until(l.key, budget_expires(budget, l.schedule), now)
end

-- Counts a failure, against the account and the origin.
local function fail(s)
    fail_line(s.account)
    fail_line(s.origin)
end

-- Forgives the failures at the account; the origin's stay.
local function forgive(s)
    if s.account.noted then
        redis.call('DEL', s.account.key)
    end
end
