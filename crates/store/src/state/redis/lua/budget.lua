-- Failure counters (budgets): the arithmetic of `stele_core::rate_limit::FailureCounter`, line for line. `budget_at` is its
-- `advance_to`, `budget_fail` its `with_failure`. A limit without `base` blocks until the window ends.
local function failure_limit(free, window, base, cap)
    return { free = tonumber(free), window = tonumber(window), base = tonumber(base), cap = tonumber(cap) }
end

local function budget_fresh(now)
    return { failures = 0, started = now, blocked = now }
end

local function budget_at(budget, now, limit)
    if now >= saturating_add(budget.started, limit.window) and now >= budget.blocked then
        return budget_fresh(now)
    end
    local started = math.min(budget.started, now)
    local blocked = started
    if budget.blocked > budget.started then
        blocked = math.min(budget.blocked, saturating_add(now, limit.base and limit.cap or limit.window))
    end
    return { failures = budget.failures, started = started, blocked = blocked }
end

local function budget_wait(budget, now)
    return math.max(budget.blocked - now, 0)
end

local function budget_fail(budget, now, limit)
    local current = budget_at(budget, now, limit)
    local failures = math.min(current.failures + 1, 4294967295)
    local blocked = current.blocked
    if limit.base then
        if failures > limit.free then
            blocked = saturating_add(now, math.min(limit.base * 2 ^ math.min(failures - limit.free - 1, 31), limit.cap))
        end
    elseif failures >= limit.free then
        blocked = saturating_add(current.started, limit.window)
    end
    return { failures = failures, started = current.started, blocked = blocked }
end

-- One origin's share of the failures, after a failure from that origin.
local function budget_attribute(budget, own)
    return (own > 0 or budget.failures <= 256) and math.min(own + 1, 4294967295) or 0
end

-- The budget without the `own` failures of one origin; nil if none is left.
local function budget_clear_own(budget, own)
    local failures = math.max(budget.failures - own, 0)
    return failures > 0 and { failures = failures, started = budget.started, blocked = budget.blocked } or nil
end

local function budget_expires(budget, limit)
    return math.max(saturating_add(budget.started, limit.window), budget.blocked)
end
