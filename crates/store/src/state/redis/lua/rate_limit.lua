-- What the limits say of an attempt.
-- KEYS 1 whether the origin is known  2 the account's budget  3 the origin's own budget there  from 4: the budgets of the
--      origin and of the networks around it, as many as ARGV 6 has numbers; then what the script itself names
-- ARGV 1 now  2-5 the account's schedule  6-9 the origins', the first with a number for each  10 how long an origin is
--      known  11 the field of the account's budget that has the origin's part of it
local now = tonumber(ARGV[1])

-- `part` is the field that has one origin's part of the failures, where that is kept.
local function line(key, s, part)
    local row
    if part then
        row = redis.call('HMGET', key, 'failures', 'started', 'blocked', part)
    else
        row = redis.call('HMGET', key, 'failures', 'started', 'blocked')
    end
    local budget, own = budget_fresh(now), 0
    if row[1] then
        local stored = { failures = tonumber(row[1]), started = tonumber(row[2]), blocked = tonumber(row[3]) }
        budget = budget_at(stored, now, s)
        -- What an earlier window counted is over.
        own = budget.failures > 0 and tonumber(row[4] or 0) or 0
    end
    return { key = key, schedule = s, budget = budget, noted = row[1], part = part, own = own }
end

local function standing()
    local known_until = tonumber(redis.call('GET', KEYS[1])) or 0
    local known = known_until > now
    local of_account = schedule(ARGV[2], ARGV[3], ARGV[4], ARGV[5])
    local account = known and line(KEYS[3], of_account) or line(KEYS[2], of_account, ARGV[11])
    local wait, origins = budget_wait(account.budget, now), {}
    for free in string.gmatch(ARGV[6], '%d+') do
        local origin = line(KEYS[4 + #origins], schedule(free, ARGV[7], ARGV[8], ARGV[9]))
        wait = math.max(wait, budget_wait(origin.budget, now))
        table.insert(origins, origin)
    end
    -- `last` is the number of the last key that is named above.
    return {
        known = known, known_until = known_until, account = account, origins = origins, wait = wait, last = 3 + #origins
    }
end

-- Makes the origin known to the account for `known_for` from now; not stored again if less than a thousandth of that is
-- missing.
local function know(s)
    local known_for = tonumber(ARGV[10])
    if s.known_until < after(now, math.floor(known_for - known_for / 1000)) then
        note_until(KEYS[1], after(now, known_for), now)
    end
end

local function write_line(l, budget)
    redis.call('HSET', l.key, 'failures', budget.failures, 'started', budget.started, 'blocked', budget.blocked)
end

local function fail_line(l)
    local budget = budget_fail(l.budget, now, l.schedule)
    if l.part and l.noted and l.budget.failures == 0 then
        redis.call('DEL', l.key)
    end
    write_line(l, budget)
    local own = l.part and budget_attribute(budget, l.own) or 0
    if own > 0 then
        redis.call('HSET', l.key, l.part, own)
    end
    keep_until(l.key, budget_expires(budget, l.schedule), now)
end

-- Counts a failure, against the account and the origins.
local function fail(s)
    fail_line(s.account)
    for _, origin in ipairs(s.origins) do
        fail_line(origin)
    end
end

-- Forgives those of the account's failures that came from this origin; what the origin itself has failed stays.
local function forgive(s)
    local l = s.account
    if not l.noted then
        return
    end
    local left = l.part and budget_forgive(l.budget, l.own)
    if not left then
        redis.call('DEL', l.key)
    elseif l.own > 0 then
        write_line(l, left)
        redis.call('HDEL', l.key, l.part)
    end
end
