//! How failures turn into waits: pure arithmetic, the same for every store.

use std::time::Duration;

use crate::time::Timestamp;

/// How many failures of a budget are kept with the origin that they came from.
const ATTRIBUTED: u32 = 256;

/// How a budget is spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// How many failures within a window cost no wait.
    pub free: u32,
    /// How long failures are counted together, from the first of them.
    pub window: Duration,
    /// What a failure past the free ones costs.
    pub cost: Cost,
}

/// What a failure past the free ones costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    /// A wait that starts at `base` and doubles with each further failure, up to `cap`.
    Doubling {
        /// The first wait.
        base: Duration,
        /// The longest wait.
        cap: Duration,
    },
    /// Nothing more until the window ends: the last free failure closes it.
    RestOfWindow,
}

/// Failures counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// How many since the window began.
    pub failures: u32,
    /// When the window began: at its first failure.
    pub started: Timestamp,
    /// Until when everything is refused.
    pub blocked_until: Timestamp,
}

impl Budget {
    /// A budget of which nothing is spent.
    pub fn fresh(now: Timestamp) -> Self {
        Self { failures: 0, started: now, blocked_until: now }
    }

    /// This budget as it stands at `now`: a new window if the old one is over and no wait is left. If the clock was
    /// set back, the count stays and no wait is longer than the schedule's longest.
    #[must_use]
    pub fn at(self, now: Timestamp, schedule: &Schedule) -> Self {
        let longest = now.after(schedule.longest_wait());
        let over = now >= self.started.after(schedule.window) && now >= self.blocked_until;
        if over {
            return Self::fresh(now);
        }
        let started = self.started.min(now);
        // A budget that never waited says so by ending its wait where it started.
        let waited = self.blocked_until > self.started;
        Self { started, blocked_until: if waited { self.blocked_until.min(longest) } else { started }, ..self }
    }

    /// How long everything is still refused; `None` if nothing is.
    pub fn wait(&self, now: Timestamp) -> Option<Duration> {
        (self.blocked_until > now).then(|| self.blocked_until.since(now))
    }

    /// This budget with one more failure.
    #[must_use]
    pub fn fail(self, now: Timestamp, schedule: &Schedule) -> Self {
        let current = self.at(now, schedule);
        let failures = current.failures.saturating_add(1);
        let blocked_until = match schedule.cost {
            Cost::Doubling { base, cap } if failures > schedule.free => {
                let doublings = (failures - schedule.free - 1).min(31);
                now.after(base.saturating_mul(1 << doublings).min(cap))
            }
            Cost::RestOfWindow if failures >= schedule.free => current.started.after(schedule.window),
            Cost::Doubling { .. } | Cost::RestOfWindow => current.blocked_until,
        };
        Self { failures, started: current.started, blocked_until }
    }

    /// One origin's part of this budget's failures, after a failure of its own: `own` before it. Of the first failures
    /// it is kept whose they are; a budget so large that many origins could fill it does not grow with their number.
    pub fn attribute(&self, own: u32) -> u32 {
        if own > 0 || self.failures <= ATTRIBUTED { own.saturating_add(1) } else { 0 }
    }

    /// This budget without the failures of one origin, its `own`; `None` if none are left.
    #[must_use]
    pub fn forgive(self, own: u32) -> Option<Self> {
        let failures = self.failures.saturating_sub(own);
        (failures > 0).then_some(Self { failures, ..self })
    }

    /// When this budget can be forgotten.
    pub fn expires(&self, schedule: &Schedule) -> Timestamp {
        self.started.after(schedule.window).max(self.blocked_until)
    }
}

impl Schedule {
    /// This schedule with so many times the free failures.
    #[must_use]
    pub fn times(self, times: u32) -> Self {
        Self { free: self.free.saturating_mul(times), ..self }
    }

    fn longest_wait(&self) -> Duration {
        match self.cost {
            Cost::Doubling { cap, .. } => cap,
            Cost::RestOfWindow => self.window,
        }
    }
}

/// At most `max` of something within a window that starts with the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// How many.
    pub max: u32,
    /// Within how long.
    pub window: Duration,
}

/// Uses counted together in one window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// How many.
    pub used: u32,
    /// When the first of them was.
    pub started: Timestamp,
}

impl Quota {
    /// So many times this quota.
    #[must_use]
    pub fn times(self, times: u32) -> Self {
        Self { max: self.max.saturating_mul(times), ..self }
    }

    /// The window that is open at `now`, given the one that was stored. If the clock was set back, it is not drawn out by
    /// it.
    pub fn window(&self, stored: Option<Window>, now: Timestamp) -> Window {
        let current = stored.map(|window| Window { started: window.started.min(now), ..window });
        current.filter(|window| now < self.end(window)).unwrap_or(Window { used: 0, started: now })
    }

    /// How long a further use is refused; `None` if it is not.
    pub fn wait(&self, window: &Window, now: Timestamp) -> Option<Duration> {
        (window.used >= self.max).then(|| self.end(window).since(now))
    }

    /// When a window can be forgotten.
    pub fn end(&self, window: &Window) -> Timestamp {
        window.started.after(self.window)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const ACCOUNT: Schedule = Schedule {
        free: 5,
        window: Duration::from_secs(900),
        cost: Cost::Doubling { base: Duration::from_secs(1), cap: MINUTE },
    };
    const ADDRESS: Schedule = Schedule { free: 100, window: Duration::from_secs(900), cost: Cost::RestOfWindow };
    const START: Timestamp = Timestamp::from_secs(1_000_000);

    #[test]
    fn five_are_free_then_waits_double_up_to_a_minute() {
        let (mut now, mut budget, mut waits) = (START, Budget::fresh(START), Vec::new());
        for _ in 0..13 {
            budget = budget.fail(now, &ACCOUNT);
            let wait = budget.wait(now).unwrap_or_default();
            waits.push(wait.as_secs());
            now = now.after(wait);
        }
        assert_eq!(waits, [0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60]);
    }

    #[test]
    fn a_network_has_so_many_times_the_free_failures_and_uses() {
        assert_eq!(ADDRESS.times(4), Schedule { free: 400, ..ADDRESS });
        assert_eq!(Quota { max: 30, window: MINUTE }.times(4), Quota { max: 120, window: MINUTE });
    }

    #[test]
    fn a_clock_that_was_set_back_keeps_the_count_and_shortens_the_wait() {
        let before = Budget { failures: 9, started: START, blocked_until: START.after(MINUTE * 10) };
        let back = Timestamp::from_secs(999_000);
        let now = before.at(back, &ACCOUNT);
        assert_eq!(now, Budget { failures: 9, started: back, blocked_until: back.after(MINUTE) });
        let never_waited = Budget { failures: 3, started: START, blocked_until: START };
        assert_eq!(never_waited.at(back, &ACCOUNT), Budget { failures: 3, started: back, blocked_until: back });
        assert_eq!(ADDRESS.longest_wait(), ADDRESS.window);
    }

    #[test]
    fn an_address_is_refused_after_its_hundredth_failure_until_the_window_ends() {
        let mut budget = Budget::fresh(START);
        for n in 0..100 {
            assert_eq!(budget.wait(START), None, "{n}");
            budget = budget.fail(START, &ADDRESS);
        }
        assert_eq!(budget.wait(START), Some(ADDRESS.window));
        let later = START.after(ADDRESS.window);
        assert_eq!(budget.at(later, &ADDRESS), Budget::fresh(later));
    }

    #[test]
    fn a_window_ends_fifteen_minutes_after_its_first_failure() {
        let spent = (0..5).fold(Budget::fresh(START), |b, _| b.fail(START, &ACCOUNT));
        let almost = START.after(ACCOUNT.window).before(Duration::from_micros(1));
        assert_eq!(spent.fail(almost, &ACCOUNT).failures, 6);
        assert_eq!(spent.fail(START.after(ACCOUNT.window), &ACCOUNT).failures, 1);
    }

    #[test]
    fn a_success_takes_its_own_origins_failures_back() {
        let three = (0..3).fold(Budget::fresh(START), |b, _| b.fail(START, &ACCOUNT));
        assert_eq!(three.attribute(1), 2);
        assert_eq!(three.forgive(2).map(|left| left.failures), Some(1));
        assert_eq!(three.forgive(3), None);
        let many = Budget { failures: ATTRIBUTED + 1, ..three };
        assert_eq!((many.attribute(0), many.attribute(7)), (0, 8));
    }

    #[test]
    fn a_free_failure_stays_free_when_the_clock_is_set_back() {
        let failed = Budget::fresh(START).fail(START, &ACCOUNT);
        let earlier = START.before(Duration::from_secs(3_600));
        assert_eq!(failed.at(earlier, &ACCOUNT).wait(earlier), None);
        assert_eq!(failed.fail(earlier, &ACCOUNT).failures, 2);
    }

    proptest! {
        #[test]
        fn no_clock_step_makes_a_wait_longer_than_the_longest(steps in proptest::collection::vec(-7200i64..7200, 1..60)) {
            let (mut now, mut budget) = (START, Budget::fresh(START));
            for step in steps {
                now = Timestamp::from_micros(now.as_micros() + step * 1_000_000);
                budget = budget.at(now, &ACCOUNT);
                prop_assert!(budget.wait(now).unwrap_or_default() <= MINUTE);
                budget = budget.fail(now, &ACCOUNT);
            }
        }
    }
}
