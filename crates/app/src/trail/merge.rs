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

use stele_core::event::{Act, Event, Outcome, Subject};
use stele_core::origin::Origin;
use stele_core::session::Dialect;
use stele_core::time::Timestamp;
use stele_core::trail::{Entry, FailureClass, VARIOUS};
use tokio::time::Instant;

/// How long repeated failures are counted before an entry says how many they were.
pub(super) const WINDOW: Duration = Duration::from_secs(60);
/// A budget is for this long; it may be spent at once, and comes back evenly.
const HOUR: Duration = Duration::from_secs(3_600);
/// How many origins are distinguished in an entry about failures beyond the budgets.
pub(super) const MOST_ORIGINS: usize = 4_096;
/// An app calls for all of its users: it has this many times the budget of an address.
const APP: u32 = 10;
/// With fewer origins than this, those that have their whole budget again are not looked for.
const FEW: usize = 1_024;

/// How many entries failures may take, in an hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budgets {
    /// From one address or IPv6 /64, of each class; from one MeFP app ten times as many.
    pub origin: u32,
    /// Guesses, in all.
    pub guesses: u32,
    /// Refusals, in all.
    pub refusals: u32,
}

impl Default for Budgets {
    fn default() -> Self {
        Self { origin: 240, guesses: 6_000, refusals: 1_800 }
    }
}

impl Budgets {
    fn of(self, origin: &Option<Origin>) -> u32 {
        match origin {
            Some(Origin::App(_)) => self.origin.saturating_mul(APP),
            _ => self.origin,
        }
    }
}

/// What becomes of a failure.
pub(super) enum Merged {
    /// It has an entry of its own.
    Entry(Event),
    /// It is counted in an entry that will be made.
    Counted,
    /// It is beyond a budget.
    NotKept {
        /// The first for a while: from now on there is something to write later.
        first: bool,
    },
}

/// What makes failures the same.
#[derive(PartialEq, Eq, Hash)]
struct Kind {
    origin: Option<Origin>,
    outcome: Outcome,
    /// `None` for what a rate limit refused, whatever it was about.
    about: Option<(Act, Option<Dialect>, String, Option<Subject>)>,
}

/// Failures of one kind since the last entry about them.
struct Window {
    class: FailureClass,
    repeated: Option<Repeated>,
}

struct Repeated {
    sample: Event,
    one_act: bool,
    one_subject: bool,
    one_dialect: bool,
    count: Count,
}

struct Count {
    times: i64,
    first: Timestamp,
    last: Timestamp,
}

/// Failures beyond the budgets since the last entry about them.
struct NotKept {
    until: Instant,
    origins: HashSet<u64>,
    count: Count,
}

/// A token bucket: full at first, and an hour after it was emptied.
struct Bucket {
    left: f64,
    at: Instant,
}

/// The failures that have been counted and are not in the trail yet.
pub(super) struct Merger {
    budgets: Budgets,
    windows: HashMap<Arc<Kind>, Window>,
    /// When each window ends, in that order.
    ends: VecDeque<(Instant, Arc<Kind>)>,
    in_all: [Bucket; 2],
    /// Origins that have not their whole budget.
    by_origin: HashMap<Option<Origin>, [Bucket; 2]>,
    sweep_at: usize,
    not_kept: [Option<NotKept>; 2],
    hasher: RandomState,
}

impl Merger {
    pub(super) fn new(budgets: Budgets, now: Instant) -> Self {
        Self {
            budgets,
            windows: HashMap::new(),
            ends: VecDeque::new(),
            in_all: [Bucket::full(budgets.guesses, now), Bucket::full(budgets.refusals, now)],
            by_origin: HashMap::new(),
            sweep_at: FEW,
            not_kept: [None, None],
            hasher: RandomState::new(),
        }
    }

    /// Takes a failure down.
    pub(super) fn take(&mut self, class: FailureClass, event: Event, now: Instant) -> Merged {
        let kind = Kind::of(&event);
        if let Some(window) = self.windows.get_mut(&kind) {
            window.repeat(event);
            return Merged::Counted;
        }
        if !self.spend(class, &kind.origin, now) {
            let count = Count { times: 1, first: event.at, last: event.at };
            return Merged::NotKept { first: self.exceed(class, kind.origin.as_ref(), &count, now) };
        }
        let kind = Arc::new(kind);
        self.ends.push_back((now + WINDOW, kind.clone()));
        self.windows.insert(kind, Window { class, repeated: None });
        Merged::Entry(event)
    }

    /// When there will be something to write.
    pub(super) fn due(&self) -> Option<Instant> {
        let windows = self.ends.front().map(|(end, _)| *end);
        let not_kept = self.not_kept.iter().flatten().map(|not_kept| not_kept.until);
        windows.into_iter().chain(not_kept).min()
    }

    /// The entries, without names, about what was counted in the windows that have ended.
    pub(super) fn end(&mut self, now: Instant) -> Vec<Entry> {
        let mut entries = Vec::new();
        while self.ends.front().is_some_and(|(end, _)| *end <= now) {
            let Some((_, kind)) = self.ends.pop_front() else { break };
            let Slot::Occupied(mut slot) = self.windows.entry(kind.clone()) else { continue };
            let class = slot.get().class;
            let Some(repeated) = slot.get_mut().repeated.take() else {
                // It has ceased.
                slot.remove();
                continue;
            };
            if self.spend(class, &kind.origin, now) {
                entries.push(repeated.entry());
                self.ends.push_back((now + WINDOW, kind));
            } else {
                self.windows.remove(&kind);
                self.exceed(class, kind.origin.as_ref(), &repeated.count, now);
            }
        }
        for (class, not_kept) in CLASSES.into_iter().zip(&mut self.not_kept) {
            entries.extend(not_kept.take_if(|not_kept| not_kept.until <= now).map(|not_kept| not_kept.entry(class)));
        }
        entries
    }

    /// The entries about everything that was counted, for a process that stops.
    pub(super) fn end_all(&mut self) -> Vec<Entry> {
        self.ends.clear();
        let repeated = self.windows.drain().filter_map(|(_, window)| window.repeated).map(Repeated::entry);
        let not_kept = CLASSES.into_iter().zip(&mut self.not_kept);
        let not_kept = not_kept.filter_map(|(class, not_kept)| Some(not_kept.take()?.entry(class)));
        repeated.chain(not_kept).collect()
    }

    /// Takes an entry from both budgets, if they have one left.
    fn spend(&mut self, class: FailureClass, origin: &Option<Origin>, now: Instant) -> bool {
        let each = self.budgets.of(origin);
        let (at, all) = match class {
            FailureClass::Guess => (0, self.budgets.guesses),
            FailureClass::Refusal => (1, self.budgets.refusals),
        };
        if self.in_all[at].refilled(all, now) < 1.0 {
            return false;
        }
        if let Some(own) = self.by_origin.get_mut(origin) {
            if own[at].refilled(each, now) < 1.0 {
                return false;
            }
            own[at].left -= 1.0;
        } else {
            self.forget_full(now);
            let mut own = [Bucket::full(each, now), Bucket::full(each, now)];
            own[at].left -= 1.0;
            self.by_origin.insert(origin.clone(), own);
        }
        self.in_all[at].left -= 1.0;
        true
    }

    /// Forgets origins that have their whole budget again, if there are many. No more remain than there were entries in
    /// the last hour.
    fn forget_full(&mut self, now: Instant) {
        if self.by_origin.len() >= self.sweep_at {
            let budgets = self.budgets;
            self.by_origin.retain(|origin, own| {
                let each = budgets.of(origin);
                own.iter_mut().any(|bucket| bucket.refilled(each, now) < f64::from(each))
            });
            self.sweep_at = FEW.max(2 * self.by_origin.len());
        }
    }

    /// Counts failures beyond a budget; whether they are the first for a while.
    fn exceed(&mut self, class: FailureClass, origin: Option<&Origin>, count: &Count, now: Instant) -> bool {
        let origin = self.hasher.hash_one(origin);
        let not_kept = &mut self.not_kept[usize::from(class == FailureClass::Refusal)];
        match not_kept {
            Some(not_kept) => {
                not_kept.count.add(count);
                if not_kept.origins.len() < MOST_ORIGINS {
                    not_kept.origins.insert(origin);
                }
                false
            }
            None => {
                let count = Count { ..*count };
                *not_kept = Some(NotKept { until: now + WINDOW, origins: HashSet::from([origin]), count });
                true
            }
        }
    }
}

/// As the arrays of a [`Merger`] have them.
const CLASSES: [FailureClass; 2] = [FailureClass::Guess, FailureClass::Refusal];

impl Kind {
    fn of(event: &Event) -> Self {
        let door = event.door.as_ref();
        let by_address = || event.client.as_ref().map(|client| Origin::address(client.address));
        let origin = door.and_then(|door| door.origin.clone()).or_else(by_address);
        let about = || {
            let app = door.map(|door| door.app.clone()).unwrap_or_default();
            (event.act, door.map(|door| door.dialect), app, event.subject.clone())
        };
        Self { origin, outcome: event.outcome, about: (event.outcome != Outcome::TooMany).then(about) }
    }
}

impl Window {
    fn repeat(&mut self, event: Event) {
        let one = Count { times: 1, first: event.at, last: event.at };
        match &mut self.repeated {
            Some(repeated) => {
                let dialect = |event: &Event| event.door.as_ref().map(|door| door.dialect);
                repeated.one_act &= repeated.sample.act == event.act;
                repeated.one_subject &= repeated.sample.subject == event.subject;
                repeated.one_dialect &= dialect(&repeated.sample) == dialect(&event);
                repeated.count.add(&one);
            }
            None => {
                let (one_act, one_subject, one_dialect) = (true, true, true);
                self.repeated = Some(Repeated { sample: event, one_act, one_subject, one_dialect, count: one });
            }
        }
    }
}

impl Repeated {
    /// What the failures have in common, how many they were, and the address of one.
    fn entry(self) -> Entry {
        let Self { sample, one_act, one_subject, one_dialect, count } = self;
        let mut entry = Entry::new(sample, 0, 0, "").counting(count.times, count.first, count.last);
        if !one_act {
            (entry.act, entry.proof, entry.purpose) = (VARIOUS.into(), None, None);
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

impl NotKept {
    fn entry(self, class: FailureClass) -> Entry {
        let origins = i64::try_from(self.origins.len()).unwrap_or(i64::MAX);
        Entry::not_kept(class, origins).counting(self.count.times, self.count.first, self.count.last)
    }
}

impl Count {
    fn add(&mut self, other: &Self) {
        self.times = self.times.saturating_add(other.times);
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
    }
}

impl Bucket {
    fn full(budget: u32, now: Instant) -> Self {
        Self { left: f64::from(budget), at: now }
    }

    /// What is left of `budget` now.
    fn refilled(&mut self, budget: u32, now: Instant) -> f64 {
        let budget = f64::from(budget);
        let back = now.duration_since(self.at).as_secs_f64() / HOUR.as_secs_f64() * budget;
        (self.left, self.at) = ((self.left + back).min(budget), now);
        self.left
    }
}

#[cfg(test)]
#[path = "merge_tests.rs"]
mod tests;
