//! Merges repeated failures in the audit trail, and bounds how many entries failures take.
//!
//! The first failure of its kind from an origin (an address, an IPv6 /64, an app) has an entry of its own; those that
//! follow are counted in one entry a minute. Entries are budgeted by origin and in all, separately for guesses at
//! accounts and for other refusals; failures beyond a budget are counted, class by class, in one entry a minute.

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

/// How long repeated failures are counted before an entry says how many they were.
pub(super) const MERGE_WINDOW: Duration = Duration::from_secs(60);
/// A budget is for this long; it may be spent at once, and comes back evenly.
const REFILL_PERIOD: Duration = Duration::from_secs(3_600);
/// How many origins are distinguished in an entry about failures beyond the budgets.
pub(super) const MAX_COUNTED_ORIGINS: usize = 4_096;
/// An app calls for all of its users: it has this many times the budget of an address.
const APP_MULTIPLIER: u32 = 10;
/// With fewer origins than this, those that have their whole budget again are not looked for.
const MIN_SWEEP_SIZE: usize = 1_024;

/// How many entries failures may take, in an hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditRateLimits {
    /// From one address or IPv6 /64, of each class; from one MeFP app ten times as many.
    pub per_origin: u32,
    /// Guesses, in all.
    pub guesses: u32,
    /// Refusals, in all.
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

/// What becomes of a failure.
pub(super) enum MergeOutcome {
    /// It has an entry of its own.
    Recorded(Event),
    /// It is counted in an entry that will be made.
    Counted,
    /// It is beyond a budget.
    Suppressed {
        /// The first for a while: from now on there is something to write later.
        first: bool,
    },
}

/// What makes failures the same.
#[derive(PartialEq, Eq, Hash)]
struct FailureKey {
    origin: Option<Origin>,
    outcome: Outcome,
    /// `None` for what a rate limit refused, whatever it was about.
    details: Option<(Action, Option<DialectName>, String, Option<Subject>)>,
}

/// Failures of one kind since the last entry about them.
struct MergeWindow {
    class: FailureClass,
    repeated: Option<RepeatedFailures>,
}

struct RepeatedFailures {
    sample: Event,
    same_action: bool,
    same_subject: bool,
    same_dialect: bool,
    count: FailureCount,
}

struct FailureCount {
    times: i64,
    first: Timestamp,
    last: Timestamp,
}

/// Failures beyond the budgets since the last entry about them.
struct SuppressedFailures {
    ends_at: Instant,
    origins: HashSet<u64>,
    count: FailureCount,
}

/// A token bucket: full at first, and an hour after it was emptied.
struct TokenBucket {
    tokens: f64,
    refilled_at: Instant,
}

/// The failures that have been counted and are not in the trail yet.
pub(super) struct FailureMerger {
    rate_limits: AuditRateLimits,
    windows: HashMap<Arc<FailureKey>, MergeWindow>,
    /// When each window ends, in that order.
    window_ends: VecDeque<(Instant, Arc<FailureKey>)>,
    total_buckets: [TokenBucket; 2],
    /// Origins that have not their whole budget.
    origin_buckets: HashMap<Option<Origin>, [TokenBucket; 2]>,
    sweep_at: usize,
    suppressed: [Option<SuppressedFailures>; 2],
    hasher: RandomState,
}

impl FailureMerger {
    pub(super) fn new(budgets: AuditRateLimits, now: Instant) -> Self {
        Self {
            rate_limits: budgets,
            windows: HashMap::new(),
            window_ends: VecDeque::new(),
            total_buckets: [TokenBucket::full(budgets.guesses, now), TokenBucket::full(budgets.refusals, now)],
            origin_buckets: HashMap::new(),
            sweep_at: MIN_SWEEP_SIZE,
            suppressed: [None, None],
            hasher: RandomState::new(),
        }
    }

    /// Takes a failure down.
    pub(super) fn record(&mut self, class: FailureClass, event: Event, now: Instant) -> MergeOutcome {
        let kind = FailureKey::of(&event);
        if let Some(window) = self.windows.get_mut(&kind) {
            window.add_repetition(event);
            return MergeOutcome::Counted;
        }
        if !self.take_tokens(class, &kind.origin, now) {
            let count = FailureCount { times: 1, first: event.at, last: event.at };
            return MergeOutcome::Suppressed { first: self.suppress(class, kind.origin.as_ref(), &count, now) };
        }
        let kind = Arc::new(kind);
        self.window_ends.push_back((now + MERGE_WINDOW, kind.clone()));
        self.windows.insert(kind, MergeWindow { class, repeated: None });
        MergeOutcome::Recorded(event)
    }

    /// When there will be something to write.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let windows = self.window_ends.front().map(|(end, _)| *end);
        let not_kept = self.suppressed.iter().flatten().map(|not_kept| not_kept.ends_at);
        windows.into_iter().chain(not_kept).min()
    }

    /// The entries, without names, about what was counted in the windows that have ended.
    pub(super) fn close_ended_windows(&mut self, now: Instant) -> Vec<AuditLogEntry> {
        let mut entries = Vec::new();
        while self.window_ends.front().is_some_and(|(end, _)| *end <= now) {
            let Some((_, kind)) = self.window_ends.pop_front() else { break };
            let Slot::Occupied(mut slot) = self.windows.entry(kind.clone()) else { continue };
            let class = slot.get().class;
            let Some(repeated) = slot.get_mut().repeated.take() else {
                // It has ceased.
                slot.remove();
                continue;
            };
            if self.take_tokens(class, &kind.origin, now) {
                entries.push(repeated.into_entry());
                self.window_ends.push_back((now + MERGE_WINDOW, kind));
            } else {
                self.windows.remove(&kind);
                self.suppress(class, kind.origin.as_ref(), &repeated.count, now);
            }
        }
        for (class, not_kept) in CLASSES.into_iter().zip(&mut self.suppressed) {
            entries.extend(
                not_kept.take_if(|not_kept| not_kept.ends_at <= now).map(|not_kept| not_kept.into_entry(class)),
            );
        }
        entries
    }

    /// The entries about everything that was counted, for a process that stops.
    pub(super) fn close_all_windows(&mut self) -> Vec<AuditLogEntry> {
        self.window_ends.clear();
        let repeated = self.windows.drain().filter_map(|(_, window)| window.repeated).map(RepeatedFailures::into_entry);
        let not_kept = CLASSES.into_iter().zip(&mut self.suppressed);
        let not_kept = not_kept.filter_map(|(class, not_kept)| Some(not_kept.take()?.into_entry(class)));
        repeated.chain(not_kept).collect()
    }

    /// Takes an entry from both budgets, if they have one left.
    fn take_tokens(&mut self, class: FailureClass, origin: &Option<Origin>, now: Instant) -> bool {
        let each = self.rate_limits.per_origin_limit(origin);
        let (at, all) = match class {
            FailureClass::Guess => (0, self.rate_limits.guesses),
            FailureClass::Refusal => (1, self.rate_limits.refusals),
        };
        if self.total_buckets[at].refill(all, now) < 1.0 {
            return false;
        }
        if let Some(own) = self.origin_buckets.get_mut(origin) {
            if own[at].refill(each, now) < 1.0 {
                return false;
            }
            own[at].tokens -= 1.0;
        } else {
            self.forget_full_buckets(now);
            let mut own = [TokenBucket::full(each, now), TokenBucket::full(each, now)];
            own[at].tokens -= 1.0;
            self.origin_buckets.insert(origin.clone(), own);
        }
        self.total_buckets[at].tokens -= 1.0;
        true
    }

    /// Forgets origins that have their whole budget again, if there are many. No more remain than there were entries in
    /// the last hour.
    fn forget_full_buckets(&mut self, now: Instant) {
        if self.origin_buckets.len() >= self.sweep_at {
            let budgets = self.rate_limits;
            self.origin_buckets.retain(|origin, own| {
                let each = budgets.per_origin_limit(origin);
                own.iter_mut().any(|bucket| bucket.refill(each, now) < f64::from(each))
            });
            self.sweep_at = MIN_SWEEP_SIZE.max(2 * self.origin_buckets.len());
        }
    }

    /// Counts failures beyond a budget; whether they are the first for a while.
    fn suppress(&mut self, class: FailureClass, origin: Option<&Origin>, count: &FailureCount, now: Instant) -> bool {
        let origin = self.hasher.hash_one(origin);
        let not_kept = &mut self.suppressed[usize::from(class == FailureClass::Refusal)];
        match not_kept {
            Some(not_kept) => {
                not_kept.count.add(count);
                if not_kept.origins.len() < MAX_COUNTED_ORIGINS {
                    not_kept.origins.insert(origin);
                }
                false
            }
            None => {
                let count = FailureCount { ..*count };
                *not_kept =
                    Some(SuppressedFailures { ends_at: now + MERGE_WINDOW, origins: HashSet::from([origin]), count });
                true
            }
        }
    }
}

/// As the arrays of a [`Merger`] have them.
const CLASSES: [FailureClass; 2] = [FailureClass::Guess, FailureClass::Refusal];

impl FailureKey {
    fn of(event: &Event) -> Self {
        let door = event.entry_point.as_ref();
        let by_address = || event.client.as_ref().map(|client| Origin::from_address(client.address));
        let origin = door.and_then(|door| door.origin.clone()).or_else(by_address);
        let about = || {
            let app = door.map(|door| door.app.clone()).unwrap_or_default();
            (event.action, door.map(|door| door.dialect), app, event.subject.clone())
        };
        Self { origin, outcome: event.outcome, details: (event.outcome != Outcome::RateLimited).then(about) }
    }
}

impl MergeWindow {
    fn add_repetition(&mut self, event: Event) {
        let one = FailureCount { times: 1, first: event.at, last: event.at };
        match &mut self.repeated {
            Some(repeated) => {
                let dialect = |event: &Event| event.entry_point.as_ref().map(|door| door.dialect);
                repeated.same_action &= repeated.sample.action == event.action;
                repeated.same_subject &= repeated.sample.subject == event.subject;
                repeated.same_dialect &= dialect(&repeated.sample) == dialect(&event);
                repeated.count.add(&one);
            }
            None => {
                let (one_act, one_subject, one_dialect) = (true, true, true);
                self.repeated = Some(RepeatedFailures {
                    sample: event,
                    same_action: one_act,
                    same_subject: one_subject,
                    same_dialect: one_dialect,
                    count: one,
                });
            }
        }
    }
}

impl RepeatedFailures {
    /// What the failures have in common, how many they were, and the address of one.
    fn into_entry(self) -> AuditLogEntry {
        let Self { sample, same_action: one_act, same_subject: one_subject, same_dialect: one_dialect, count } = self;
        let mut entry = AuditLogEntry::new(sample, 0, 0, "").aggregating(count.times, count.first, count.last);
        if !one_act {
            (entry.action, entry.proof, entry.purpose) = (VARIOUS_ACTIONS.into(), None, None);
        }
        if !one_subject {
            (entry.subject_kind, entry.subject) = (None, None);
        }
        if !one_dialect {
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
    fn full(budget: u32, now: Instant) -> Self {
        Self { tokens: f64::from(budget), refilled_at: now }
    }

    /// What is left of `budget` now.
    fn refill(&mut self, budget: u32, now: Instant) -> f64 {
        let budget = f64::from(budget);
        let back = now.duration_since(self.refilled_at).as_secs_f64() / REFILL_PERIOD.as_secs_f64() * budget;
        (self.tokens, self.refilled_at) = ((self.tokens + back).min(budget), now);
        self.tokens
    }
}

#[cfg(test)]
#[path = "merge_tests.rs"]
mod tests;
