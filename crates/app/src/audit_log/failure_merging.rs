//! Merging of repeated failures in the audit log, and rate limits (token buckets) for entries about failures.
//!
//! The first failure of its kind from an origin (an address, an IPv6 /64, an app) gets its own entry; repetitions are
//! counted in one entry a minute. Entries are rate-limited per origin and in total, separately for guesses and for
//! other rejections; failures beyond a rate limit are counted, per class, in one entry a minute.

use std::collections::hash_map::{Entry as Slot, RandomState};
use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::BuildHasher as _;
use std::sync::Arc;
use std::time::Duration;

use stele_core::audit_log::{AuditLogEntry, FailureClass, VARIOUS_ACTIONS};
use stele_core::event::{Action, Event, Outcome, Subject};
use stele_core::origin::Origin;
use stele_core::session::DialectName;
use stele_core::time::Timestamp;
use tokio::time::Instant;

/// How long repeated failures are counted before their number is written.
pub(super) const MERGE_WINDOW: Duration = Duration::from_secs(60);
/// Time in which an empty bucket refills.
const REFILL_PERIOD: Duration = Duration::from_secs(3_600);
/// The most origins that an entry about suppressed failures distinguishes.
pub(super) const MAX_COUNTED_ORIGINS: usize = 4_096;
/// An app calls for all its users, so its rate limit is this many times an address's.
const APP_MULTIPLIER: u32 = 10;
/// Full buckets are removed only if there are at least this many origins.
const MIN_SWEEP_SIZE: usize = 1_024;

/// Rate limits of the audit log: entries about failures an hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditRateLimits {
    /// Per address or IPv6 /64 and class; per MeFP app ten times as many.
    pub per_origin: u32,
    /// Guesses in total: wrong passwords and codes of existing accounts.
    pub guesses: u32,
    /// All other failures in total.
    pub refusals: u32,
}

impl Default for AuditRateLimits {
    fn default() -> Self {
        Self { per_origin: 240, guesses: 6_000, refusals: 1_800 }
    }
}

impl AuditRateLimits {
    fn per_origin_limit(self, origin: &Option<Origin>) -> u32 {
        match origin {
            Some(Origin::App(_)) => self.per_origin.saturating_mul(APP_MULTIPLIER),
            _ => self.per_origin,
        }
    }
}

/// The result of recording a failure.
pub(super) enum MergeOutcome {
    /// The failure gets its own entry.
    OwnEntry(Event),
    /// A repetition, counted in the entry at the end of its window.
    Counted,
    /// Beyond a rate limit, only counted.
    Suppressed(Suppression),
}

/// Effect of a suppressed failure on the window that counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Suppression {
    /// A new window was opened, so [`FailureMerger::next_deadline`] has changed.
    WindowOpened,
    /// The failure was counted in the window that is already open.
    CountedInOpenWindow,
}

/// Failures with equal keys are repetitions of each other.
#[derive(PartialEq, Eq, Hash)]
struct FailureKey {
    origin: Option<Origin>,
    outcome: Outcome,
    /// Action, dialect, app and subject. `None` if a rate limit rejected the request, so that all such failures of an
    /// origin have one key.
    details: Option<(Action, Option<DialectName>, String, Option<Subject>)>,
}

/// Failures with the same key since the last entry about them.
struct MergeWindow {
    class: FailureClass,
    repeated: Option<RepeatedFailures>,
}

struct RepeatedFailures {
    sample: Event,
    has_same_action: bool,
    has_same_subject: bool,
    has_same_dialect: bool,
    count: FailureCount,
}

struct FailureCount {
    times: i64,
    first: Timestamp,
    last: Timestamp,
}

/// Suppressed failures since the last entry about them.
struct SuppressedFailures {
    ends_at: Instant,
    /// Hashes of the origins, at most [`MAX_COUNTED_ORIGINS`].
    origins: HashSet<u64>,
    count: FailureCount,
}

/// Token bucket: starts full, and refills evenly in an hour.
struct TokenBucket {
    tokens: f64,
    refilled_at: Instant,
}

/// Merges repeated failures, limits the rate of entries about failures, and counts the failures that are not yet
/// written.
pub(super) struct FailureMerger {
    rate_limits: AuditRateLimits,
    windows: HashMap<Arc<FailureKey>, MergeWindow>,
    /// The ends of the windows, in order.
    window_ends: VecDeque<(Instant, Arc<FailureKey>)>,
    /// One for each of [`CLASSES`].
    total_buckets: [TokenBucket; 2],
    /// The buckets of each origin, one for each of [`CLASSES`]; removed when full.
    origin_buckets: HashMap<Option<Origin>, [TokenBucket; 2]>,
    /// The number of origins at which full buckets are removed.
    sweep_at: usize,
    /// One for each of [`CLASSES`].
    suppressed: [Option<SuppressedFailures>; 2],
    hasher: RandomState,
}

impl FailureMerger {
    pub(super) fn new(rate_limits: AuditRateLimits, now: Instant) -> Self {
        Self {
            rate_limits,
            windows: HashMap::new(),
            window_ends: VecDeque::new(),
            total_buckets: [TokenBucket::full(rate_limits.guesses, now), TokenBucket::full(rate_limits.refusals, now)],
            origin_buckets: HashMap::new(),
            sweep_at: MIN_SWEEP_SIZE,
            suppressed: [None, None],
            hasher: RandomState::new(),
        }
    }

    /// Records a failure.
    pub(super) fn record(&mut self, class: FailureClass, event: Event, now: Instant) -> MergeOutcome {
        let key = FailureKey::from_event(&event);
        if let Some(window) = self.windows.get_mut(&key) {
            window.add_repetition(event);
            return MergeOutcome::Counted;
        }
        if !self.take_tokens(class, &key.origin, now) {
            let count = FailureCount { times: 1, first: event.at, last: event.at };
            return MergeOutcome::Suppressed(self.suppress(class, key.origin.as_ref(), &count, now));
        }
        let key = Arc::new(key);
        self.window_ends.push_back((now + MERGE_WINDOW, key.clone()));
        self.windows.insert(key, MergeWindow { class, repeated: None });
        MergeOutcome::OwnEntry(event)
    }

    /// The end of the next window, when there may be an entry to write.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let windows = self.window_ends.front().map(|(end, _)| *end);
        let suppressed = self.suppressed.iter().flatten().map(|suppressed| suppressed.ends_at);
        windows.into_iter().chain(suppressed).min()
    }

    /// Closes the windows that have ended, and returns the entries about the failures counted in them. The
    /// entries have no ids yet.
    pub(super) fn close_ended_windows(&mut self, now: Instant) -> Vec<AuditLogEntry> {
        let mut entries = Vec::new();
        while self.window_ends.front().is_some_and(|(end, _)| *end <= now) {
            let Some((_, key)) = self.window_ends.pop_front() else { break };
            let Slot::Occupied(mut window) = self.windows.entry(key.clone()) else { continue };
            let class = window.get().class;
            let Some(repeated) = window.get_mut().repeated.take() else {
                // No repetition in this window: the next failure gets its own entry again.
                window.remove();
                continue;
            };
            if self.take_tokens(class, &key.origin, now) {
                entries.push(repeated.into_entry());
                self.window_ends.push_back((now + MERGE_WINDOW, key));
            } else {
                self.windows.remove(&key);
                self.suppress(class, key.origin.as_ref(), &repeated.count, now);
            }
        }
        for (class, suppressed) in CLASSES.into_iter().zip(&mut self.suppressed) {
            let ended = suppressed.take_if(|suppressed| suppressed.ends_at <= now);
            entries.extend(ended.map(|suppressed| suppressed.into_entry(class)));
        }
        entries
    }

    /// Closes all windows, and returns the entries about all counted failures. For a graceful shutdown.
    pub(super) fn close_all_windows(&mut self) -> Vec<AuditLogEntry> {
        self.window_ends.clear();
        let repeated = self.windows.drain().filter_map(|(_, window)| window.repeated).map(RepeatedFailures::into_entry);
        let suppressed = CLASSES.into_iter().zip(&mut self.suppressed);
        let suppressed = suppressed.filter_map(|(class, suppressed)| Some(suppressed.take()?.into_entry(class)));
        repeated.chain(suppressed).collect()
    }

    /// Takes a token from the origin's bucket and the total bucket of `class`; `false` if one of them is empty;
    /// then no token is taken.
    fn take_tokens(&mut self, class: FailureClass, origin: &Option<Origin>, now: Instant) -> bool {
        let origin_limit = self.rate_limits.per_origin_limit(origin);
        let (index, total_limit) = match class {
            FailureClass::Guess => (0, self.rate_limits.guesses),
            FailureClass::Refusal => (1, self.rate_limits.refusals),
        };
        if self.total_buckets[index].refill(total_limit, now) < 1.0 {
            return false;
        }
        if let Some(buckets) = self.origin_buckets.get_mut(origin) {
            if buckets[index].refill(origin_limit, now) < 1.0 {
                return false;
            }
            buckets[index].tokens -= 1.0;
        } else {
            self.remove_full_buckets(now);
            let mut buckets = [TokenBucket::full(origin_limit, now), TokenBucket::full(origin_limit, now)];
            buckets[index].tokens -= 1.0;
            self.origin_buckets.insert(origin.clone(), buckets);
        }
        self.total_buckets[index].tokens -= 1.0;
        true
    }

    /// Removes origins with full buckets, if there are many origins. At most as many origins remain as entries were
    /// made in the last hour.
    fn remove_full_buckets(&mut self, now: Instant) {
        if self.origin_buckets.len() >= self.sweep_at {
            let rate_limits = self.rate_limits;
            self.origin_buckets.retain(|origin, buckets| {
                let limit = rate_limits.per_origin_limit(origin);
                buckets.iter_mut().any(|bucket| bucket.refill(limit, now) < f64::from(limit))
            });
            self.sweep_at = MIN_SWEEP_SIZE.max(2 * self.origin_buckets.len());
        }
    }

    /// Counts failures beyond a rate limit.
    fn suppress(
        &mut self,
        class: FailureClass,
        origin: Option<&Origin>,
        count: &FailureCount,
        now: Instant,
    ) -> Suppression {
        let origin_hash = self.hasher.hash_one(origin);
        let window = &mut self.suppressed[usize::from(class == FailureClass::Refusal)];
        match window {
            Some(suppressed) => {
                suppressed.count.add(count);
                if suppressed.origins.len() < MAX_COUNTED_ORIGINS {
                    suppressed.origins.insert(origin_hash);
                }
                Suppression::CountedInOpenWindow
            }
            None => {
                let count = FailureCount { ..*count };
                let origins = HashSet::from([origin_hash]);
                *window = Some(SuppressedFailures { ends_at: now + MERGE_WINDOW, origins, count });
                Suppression::WindowOpened
            }
        }
    }
}

/// The classes in the order of the arrays of [`FailureMerger`].
const CLASSES: [FailureClass; 2] = [FailureClass::Guess, FailureClass::Refusal];

impl FailureKey {
    fn from_event(event: &Event) -> Self {
        let entry_point = event.entry_point.as_ref();
        let client_origin = || event.client.as_ref().map(|client| Origin::from_address(client.address));
        let origin = entry_point.and_then(|entry_point| entry_point.origin.clone()).or_else(client_origin);
        let build_details = || {
            let app = entry_point.map(|entry_point| entry_point.app.clone()).unwrap_or_default();
            (event.action, entry_point.map(|entry_point| entry_point.dialect), app, event.subject.clone())
        };
        Self { origin, outcome: event.outcome, details: (event.outcome != Outcome::RateLimited).then(build_details) }
    }
}

impl MergeWindow {
    fn add_repetition(&mut self, event: Event) {
        let single = FailureCount { times: 1, first: event.at, last: event.at };
        match &mut self.repeated {
            Some(repeated) => {
                let dialect_of = |event: &Event| event.entry_point.as_ref().map(|entry_point| entry_point.dialect);
                repeated.has_same_action &= repeated.sample.action == event.action;
                repeated.has_same_subject &= repeated.sample.subject == event.subject;
                repeated.has_same_dialect &= dialect_of(&repeated.sample) == dialect_of(&event);
                repeated.count.add(&single);
            }
            None => {
                self.repeated = Some(RepeatedFailures {
                    sample: event,
                    has_same_action: true,
                    has_same_subject: true,
                    has_same_dialect: true,
                    count: single,
                });
            }
        }
    }
}

impl RepeatedFailures {
    /// An entry with the properties that all failures have in common, their number, and the address of one of them.
    fn into_entry(self) -> AuditLogEntry {
        let Self { sample, has_same_action, has_same_subject, has_same_dialect, count } = self;
        let mut entry = AuditLogEntry::new(sample, 0, 0, "").aggregating(count.times, count.first, count.last);
        if !has_same_action {
            (entry.action, entry.proof, entry.purpose) = (VARIOUS_ACTIONS.into(), None, None);
        }
        if !has_same_subject {
            (entry.subject_kind, entry.subject) = (None, None);
        }
        if !has_same_dialect {
            entry.dialect = None;
        }
        entry
    }
}

impl SuppressedFailures {
    fn into_entry(self, class: FailureClass) -> AuditLogEntry {
        let origins = i64::try_from(self.origins.len()).unwrap_or(i64::MAX);
        AuditLogEntry::suppressed(class, origins).aggregating(self.count.times, self.count.first, self.count.last)
    }
}

impl FailureCount {
    fn add(&mut self, other: &Self) {
        self.times = self.times.saturating_add(other.times);
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
    }
}

impl TokenBucket {
    fn full(capacity: u32, now: Instant) -> Self {
        Self { tokens: f64::from(capacity), refilled_at: now }
    }

    /// Refills the bucket up to `capacity` and returns its tokens.
    fn refill(&mut self, capacity: u32, now: Instant) -> f64 {
        let capacity = f64::from(capacity);
        let refilled = now.duration_since(self.refilled_at).as_secs_f64() / REFILL_PERIOD.as_secs_f64() * capacity;
        (self.tokens, self.refilled_at) = ((self.tokens + refilled).min(capacity), now);
        self.tokens
    }
}

#[cfg(test)]
#[path = "merge_tests.rs"]
mod tests;
