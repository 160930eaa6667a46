//! Fixed-window counters: of failures, with exponential backoff or a block as the penalty (account lockout), and of
//! uses against a quota.

use std::time::Duration;

use crate::time::Timestamp;

/// Beyond this many failures, a counter records no further origins.
const MAX_ATTRIBUTED_FAILURES: u32 = 256;

/// A rate limit on failures: how many are free within a window, and the penalty for further ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailureLimit {
    /// How many failures within a window cost no wait.
    pub free_failures: u32,
    /// How long failures are counted together, starting with the first of them.
    pub window: Duration,
    /// The penalty for failures beyond the free ones.
    pub penalty: Penalty,
}

/// The penalty for failures beyond the free ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Penalty {
    /// Attempts are rejected for `base` after the first failure beyond the free ones. The wait doubles with each
    /// further failure, up to `cap`.
    ExponentialBackoff {
        /// The first wait.
        base: Duration,
        /// The longest wait.
        cap: Duration,
    },
    /// Attempts are rejected until the window ends. The last free failure already starts the block.
    BlockUntilWindowEnds,
}

/// The failures counted in one window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailureCounter {
    /// Failures since the window began.
    pub failures: u32,
    /// When the window began: at the first failure.
    pub window_start: Timestamp,
    /// The time until which every attempt is rejected.
    pub blocked_until: Timestamp,
}

impl FailureCounter {
    /// A counter without failures, in a window that begins at `now`.
    pub fn new(now: Timestamp) -> Self {
        Self { failures: 0, window_start: now, blocked_until: now }
    }

    /// This counter at `now`. A new window begins if the old one has ended and no wait is left. If the clock was set
    /// back, the count stays, and the remaining wait is cut to the longest wait of the limit.
    #[must_use]
    pub fn advance_to(self, now: Timestamp, limit: &FailureLimit) -> Self {
        let latest_block_end = now.saturating_add(limit.max_wait());
        let has_ended = now >= self.window_start.saturating_add(limit.window) && now >= self.blocked_until;
        if has_ended {
            return Self::new(now);
        }
        let window_start = self.window_start.min(now);
        // A counter that has never blocked has equal `blocked_until` and `window_start`, before and after this.
        let has_blocked = self.blocked_until > self.window_start;
        Self {
            window_start,
            blocked_until: if has_blocked { self.blocked_until.min(latest_block_end) } else { window_start },
            ..self
        }
    }

    /// How long attempts are still rejected; `None` if they are allowed.
    pub fn retry_after(&self, now: Timestamp) -> Option<Duration> {
        (self.blocked_until > now).then(|| self.blocked_until.saturating_duration_since(now))
    }

    /// This counter after one more failure.
    #[must_use]
    pub fn with_failure(self, now: Timestamp, limit: &FailureLimit) -> Self {
        let current = self.advance_to(now, limit);
        let failures = current.failures.saturating_add(1);
        let blocked_until = match limit.penalty {
            Penalty::ExponentialBackoff { base, cap } if failures > limit.free_failures => {
                let doublings = (failures - limit.free_failures - 1).min(31);
                now.saturating_add(base.saturating_mul(1 << doublings).min(cap))
            }
            Penalty::BlockUntilWindowEnds if failures >= limit.free_failures => {
                current.window_start.saturating_add(limit.window)
            }
            Penalty::ExponentialBackoff { .. } | Penalty::BlockUntilWindowEnds => current.blocked_until,
        };
        Self { failures, window_start: current.window_start, blocked_until }
    }

    /// The number of failures to record for an origin after a failure from it, given the number `recorded` before. A
    /// new origin is recorded only during the first failures of the counter, so that an attack from many origins cannot
    /// grow the row without bound.
    pub fn origin_failures_after_failure(&self, recorded: u32) -> u32 {
        if recorded > 0 || self.failures <= MAX_ATTRIBUTED_FAILURES { recorded.saturating_add(1) } else { 0 }
    }

    /// This counter without the `from_origin` failures of one origin; `None` if no failures are left.
    #[must_use]
    pub fn without_origin_failures(self, from_origin: u32) -> Option<Self> {
        let failures = self.failures.saturating_sub(from_origin);
        (failures > 0).then_some(Self { failures, ..self })
    }

    /// When this counter can be deleted.
    pub fn expires_at(&self, limit: &FailureLimit) -> Timestamp {
        self.window_start.saturating_add(limit.window).max(self.blocked_until)
    }
}

impl FailureLimit {
    /// This limit with `factor` times as many free failures.
    #[must_use]
    pub fn scaled_by(self, factor: u32) -> Self {
        Self { free_failures: self.free_failures.saturating_mul(factor), ..self }
    }

    fn max_wait(&self) -> Duration {
        match self.penalty {
            Penalty::ExponentialBackoff { cap, .. } => cap,
            Penalty::BlockUntilWindowEnds => self.window,
        }
    }
}

/// A quota: at most `max` uses within a window that starts with the first use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// The most uses within a window.
    pub max: u32,
    /// The length of the window.
    pub window: Duration,
}

/// The uses counted in one window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaWindow {
    /// The number of uses so far.
    pub used: u32,
    /// The time of the first use, at which the window began.
    pub start: Timestamp,
}

impl Quota {
    /// This quota with `factor` times as many uses.
    #[must_use]
    pub fn scaled_by(self, factor: u32) -> Self {
        Self { max: self.max.saturating_mul(factor), ..self }
    }

    /// The window that is open at `now`: the stored one, or a new one if there is none or it has ended. If the clock
    /// was set back, the window is moved back too, so that it never lasts longer than its length.
    pub fn current_window(&self, stored: Option<QuotaWindow>, now: Timestamp) -> QuotaWindow {
        let current = stored.map(|window| QuotaWindow { start: window.start.min(now), ..window });
        current.filter(|window| now < self.window_end(window)).unwrap_or(QuotaWindow { used: 0, start: now })
    }

    /// How long a further use is rejected; `None` if it is allowed.
    pub fn retry_after(&self, window: &QuotaWindow, now: Timestamp) -> Option<Duration> {
        (window.used >= self.max).then(|| self.window_end(window).saturating_duration_since(now))
    }

    /// When the window ends and can be deleted.
    pub fn window_end(&self, window: &QuotaWindow) -> Timestamp {
        window.start.saturating_add(self.window)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const ACCOUNT_LIMIT: FailureLimit = FailureLimit {
        free_failures: 5,
        window: Duration::from_secs(900),
        penalty: Penalty::ExponentialBackoff { base: Duration::from_secs(1), cap: MINUTE },
    };
    const ADDRESS_LIMIT: FailureLimit =
        FailureLimit { free_failures: 100, window: Duration::from_secs(900), penalty: Penalty::BlockUntilWindowEnds };
    const START: Timestamp = Timestamp::from_secs(1_000_000);

    #[test]
    fn waits_double_up_to_a_minute_after_five_free_failures() {
        let (mut now, mut counter, mut waits) = (START, FailureCounter::new(START), Vec::new());
        for _ in 0..13 {
            counter = counter.with_failure(now, &ACCOUNT_LIMIT);
            let wait = counter.retry_after(now).unwrap_or_default();
            waits.push(wait.as_secs());
            now = now.saturating_add(wait);
        }
        assert_eq!(waits, [0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60]);
    }

    #[test]
    fn scaling_multiplies_free_failures_and_quota_uses() {
        assert_eq!(ADDRESS_LIMIT.scaled_by(4), FailureLimit { free_failures: 400, ..ADDRESS_LIMIT });
        assert_eq!(Quota { max: 30, window: MINUTE }.scaled_by(4), Quota { max: 120, window: MINUTE });
    }

    #[test]
    fn setting_the_clock_back_keeps_the_count_and_caps_the_wait() {
        let stored =
            FailureCounter { failures: 9, window_start: START, blocked_until: START.saturating_add(MINUTE * 10) };
        let back = Timestamp::from_secs(999_000);
        let advanced = stored.advance_to(back, &ACCOUNT_LIMIT);
        assert_eq!(
            advanced,
            FailureCounter { failures: 9, window_start: back, blocked_until: back.saturating_add(MINUTE) }
        );
        let never_waited = FailureCounter { failures: 3, window_start: START, blocked_until: START };
        assert_eq!(
            never_waited.advance_to(back, &ACCOUNT_LIMIT),
            FailureCounter { failures: 3, window_start: back, blocked_until: back }
        );
        assert_eq!(ADDRESS_LIMIT.max_wait(), ADDRESS_LIMIT.window);
    }

    #[test]
    fn an_address_is_blocked_after_100_failures_until_the_window_ends() {
        let mut counter = FailureCounter::new(START);
        for n in 0..100 {
            assert_eq!(counter.retry_after(START), None, "{n}");
            counter = counter.with_failure(START, &ADDRESS_LIMIT);
        }
        assert_eq!(counter.retry_after(START), Some(ADDRESS_LIMIT.window));
        let later = START.saturating_add(ADDRESS_LIMIT.window);
        assert_eq!(counter.advance_to(later, &ADDRESS_LIMIT), FailureCounter::new(later));
    }

    #[test]
    fn the_window_ends_15_minutes_after_the_first_failure() {
        let spent = (0..5).fold(FailureCounter::new(START), |counter, _| counter.with_failure(START, &ACCOUNT_LIMIT));
        let almost = START.saturating_add(ACCOUNT_LIMIT.window).saturating_sub(Duration::from_micros(1));
        assert_eq!(spent.with_failure(almost, &ACCOUNT_LIMIT).failures, 6);
        assert_eq!(spent.with_failure(START.saturating_add(ACCOUNT_LIMIT.window), &ACCOUNT_LIMIT).failures, 1);
    }

    #[test]
    fn failures_are_attributed_to_a_bounded_number_of_origins_and_cleared_by_origin() {
        let three = (0..3).fold(FailureCounter::new(START), |counter, _| counter.with_failure(START, &ACCOUNT_LIMIT));
        assert_eq!(three.origin_failures_after_failure(1), 2);
        assert_eq!(three.without_origin_failures(2).map(|left| left.failures), Some(1));
        assert_eq!(three.without_origin_failures(3), None);
        let many = FailureCounter { failures: MAX_ATTRIBUTED_FAILURES + 1, ..three };
        assert_eq!((many.origin_failures_after_failure(0), many.origin_failures_after_failure(7)), (0, 8));
    }

    #[test]
    fn setting_the_clock_back_does_not_penalize_free_failures() {
        let failed = FailureCounter::new(START).with_failure(START, &ACCOUNT_LIMIT);
        let earlier = START.saturating_sub(Duration::from_secs(3_600));
        assert_eq!(failed.advance_to(earlier, &ACCOUNT_LIMIT).retry_after(earlier), None);
        assert_eq!(failed.with_failure(earlier, &ACCOUNT_LIMIT).failures, 2);
    }

    proptest! {
        #[test]
        fn clock_steps_never_exceed_the_maximum_wait(steps in proptest::collection::vec(-7200i64..7200, 1..60)) {
            let (mut now, mut counter) = (START, FailureCounter::new(START));
            for step in steps {
                now = Timestamp::from_micros(now.as_micros() + step * 1_000_000);
                counter = counter.advance_to(now, &ACCOUNT_LIMIT);
                prop_assert!(counter.retry_after(now).unwrap_or_default() <= MINUTE);
                counter = counter.with_failure(now, &ACCOUNT_LIMIT);
            }
        }
    }
}
