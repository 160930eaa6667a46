//! The threads that hash, and who waits for them.
//!
//! Threads of their own: one that has ended a hash begins the next at once, with the memory that it has, where a task
//! that is woken, wakes a thread and is woken by it leaves a core with nothing to do in between, for a sixth of the time.
//!
//! They do not stand back by a lower priority: where the system shares out by groups of processes (Linux's autogroup),
//! those who log in by a salted proof beside them waited for half a second then, and not for 10 ms.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::error::{Error, Result};
use crate::verifier::Memory;

/// How long a thread without work stays, with its memory.
const IDLE: Duration = Duration::from_secs(5);

/// What is done in some slots. It gives what answers, which is done when the slots are free again.
type Work = Box<dyn FnOnce(&mut Memory) -> Answer + Send>;
type Answer = Box<dyn FnOnce() + Send>;

/// Slots of so many KiB each, and a queue before them.
pub(super) struct Slots {
    size: u32,
    /// The KiB of a slot.
    memory: u32,
    /// How many may be in slots or wait.
    most: usize,
    /// How long a thread without work stays.
    idle: Duration,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    free: u32,
    /// In slots or waiting.
    present: usize,
    waiting: VecDeque<Waiting>,
    next: u64,
    threads: u32,
    idle: u32,
    /// What no hash works in right now: never more than there are slots free, nor than there are threads.
    kept: Vec<Memory>,
}

struct Waiting {
    number: u64,
    slots: u32,
    work: Work,
}

impl State {
    /// Takes the first in the queue out of it, if there are slots for it.
    fn take(&mut self) -> Option<(u32, Work)> {
        if self.waiting.front()?.slots > self.free {
            return None;
        }
        let first = self.waiting.pop_front()?;
        self.free -= first.slots;
        Some((first.slots, first.work))
    }

    /// Memory to work in, and no more beside it than what is free has.
    fn memory(&mut self) -> Memory {
        let memory = self.kept.pop().unwrap_or_default();
        self.trim();
        memory
    }

    fn trim(&mut self) {
        self.kept.truncate(usize::try_from(self.free.min(self.threads)).unwrap_or(0));
    }
}

/// A place in the queue, given up when its owner goes before it is served.
struct Place<'a> {
    slots: &'a Slots,
    number: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut state = self.slots.lock();
        let before = state.waiting.len();
        state.waiting.retain(|waiting| waiting.number != self.number);
        state.present -= before - state.waiting.len();
        // The next one may need less.
        self.slots.changed.notify_one();
    }
}

impl Slots {
    pub(super) fn new(size: u32, memory: u32, most: usize) -> Self {
        let size = size.max(1);
        let state = State { free: size, ..State::default() };
        Self { size, memory: memory.max(1), most, idle: IDLE, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// How many slots are taken, of how many.
    pub(super) fn taken(&self) -> (usize, usize) {
        let count = |slots| usize::try_from(slots).unwrap_or(usize::MAX);
        (count(self.size - self.lock().free), count(self.size))
    }

    /// How many are in slots or wait, of how many at most.
    pub(super) fn present(&self) -> (usize, usize) {
        (self.lock().present, self.most)
    }

    /// How many slots have `memory` KiB.
    pub(super) fn needed(&self, memory: u32) -> u32 {
        memory.div_ceil(self.memory).clamp(1, self.size)
    }

    /// Does `work` in as many slots as have `memory` KiB, in turn. Once it has begun it ends, whoever waits for it.
    ///
    /// # Errors
    /// [`Error::Busy`] if the queue is full; faults of ours.
    pub(super) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        memory: u32,
        retry_after: Duration,
        work: impl FnOnce(&mut Memory) -> T + Send + 'static,
    ) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        let work: Work = Box::new(move |memory| {
            let done = work(memory);
            // Who asked may have gone.
            Box::new(move || drop(reply.send(done)))
        });
        let place = self.enqueue(self.needed(memory), work, retry_after)?;
        let done = answer.await.map_err(Error::internal);
        drop(place);
        done
    }

    fn enqueue(self: &Arc<Self>, slots: u32, work: Work, retry_after: Duration) -> Result<Place<'_>> {
        let mut state = self.lock();
        if state.present >= self.most {
            return Err(Error::Busy { retry_after });
        }
        let number = state.next;
        state.next += 1;
        state.present += 1;
        state.waiting.push_back(Waiting { number, slots, work });
        let place = Place { slots: self, number };
        // Each idle thread is about to take one.
        if state.waiting.len() > usize::try_from(state.idle).unwrap_or(usize::MAX) && state.threads < self.size {
            state.threads += 1;
            let slots = Arc::clone(self);
            let thread = std::thread::Builder::new().name("stele-hash".to_owned()).spawn(move || slots.serve());
            if let Err(cause) = thread {
                state.threads -= 1;
                // Others serve the queue, if there are any.
                if state.threads == 0 {
                    drop(state);
                    return Err(Error::unavailable(cause));
                }
            }
        }
        drop(state);
        self.changed.notify_one();
        Ok(place)
    }

    fn serve(&self) {
        let mut state = self.lock();
        loop {
            if let Some((slots, work)) = state.take() {
                let mut memory = state.memory();
                drop(state);
                // What panics has failed: its answer is dropped with it.
                let answer = catch_unwind(AssertUnwindSafe(|| work(&mut memory))).ok();
                state = self.lock();
                state.free += slots;
                state.present -= 1;
                // That of a hash of more than today's cost is no slot's.
                if memory.size() <= usize::try_from(self.memory).unwrap_or(usize::MAX) {
                    state.kept.push(memory);
                    state.trim();
                }
                if !state.waiting.is_empty() {
                    self.changed.notify_one();
                }
                drop(state);
                if let Some(answer) = answer {
                    answer();
                }
                state = self.lock();
                continue;
            }
            state.idle += 1;
            let (waited, over) = self.changed.wait_timeout(state, self.idle).unwrap_or_else(PoisonError::into_inner);
            state = waited;
            state.idle -= 1;
            if over.timed_out() && state.waiting.is_empty() {
                state.threads -= 1;
                state.trim();
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn kept(slots: &Slots) -> Vec<usize> {
        slots.lock().kept.iter().map(Memory::size).collect()
    }

    /// So much work as to have its memory.
    fn fill(kib: u32) -> impl FnOnce(&mut Memory) -> usize + Send {
        let digest = crate::password::PasswordDigest::from_bytes([7; 16]);
        let cost = crate::verifier::Cost { memory: kib, passes: 1, lanes: 1 };
        move |memory| {
            crate::verifier::hash(&digest, &[1; 16], cost, memory).unwrap();
            memory.size()
        }
    }

    #[tokio::test]
    async fn memory_is_kept_by_who_is_there_and_no_more_than_what_is_free() {
        let slots = Arc::new(Slots::new(2, 64, 8));
        assert_eq!(slots.run(64, SECOND, fill(64)).await.unwrap(), 64);
        let both = async { tokio::join!(slots.run(64, SECOND, fill(64)), slots.run(64, SECOND, fill(64))) };
        let (one, two) = both.await;
        assert_eq!((one.unwrap(), two.unwrap()), (64, 64));
        assert!((1..=2).contains(&kept(&slots).len()), "{:?}", kept(&slots));
        // One that takes both slots has them to itself, and keeps nothing that is larger than a slot.
        let inner = slots.clone();
        let beside = slots.run(128, SECOND, move |memory| {
            fill(128)(memory);
            (kept(&inner).len(), inner.taken().0)
        });
        assert_eq!(beside.await.unwrap(), (0, 2));
        assert!(kept(&slots).is_empty());
    }

    /// Bytes of this process that are in memory.
    fn resident() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
    }

    #[tokio::test]
    async fn memory_of_the_slots_is_given_back_after_every_burst() {
        let cost = crate::verifier::Cost::default().memory;
        let slots = Arc::new(Slots { idle: Duration::from_millis(1), ..Slots::new(2, cost, 8) });
        let mut after_bursts = Vec::new();
        for _ in 0..10 {
            let burst = (0..8).map(|_| {
                let slots = slots.clone();
                tokio::spawn(async move { slots.run(cost, SECOND, fill(cost)).await.unwrap() })
            });
            for hash in burst.collect::<Vec<_>>() {
                assert_eq!(hash.await.unwrap(), usize::try_from(cost).unwrap());
            }
            while slots.lock().threads > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            after_bursts.push(resident());
        }
        let (first, most) = (after_bursts[0], after_bursts.iter().max().unwrap());
        assert!(most - first < u64::from(cost) * 1024 / 2, "{after_bursts:?}");
    }

    #[tokio::test]
    async fn work_that_panics_has_failed_and_gives_its_slot_back() {
        let slots = Arc::new(Slots::new(1, 64, 1));
        for _ in 0..3 {
            let failed = slots.run(64, SECOND, |_| assert_eq!(1, 2, "on purpose")).await;
            assert!(matches!(failed, Err(Error::Internal(_))), "{failed:?}");
            while slots.present().0 > 0 {
                tokio::task::yield_now().await;
            }
        }
        assert_eq!((slots.run(64, SECOND, fill(64)).await.unwrap(), slots.lock().threads), (64, 1));
    }

    #[tokio::test]
    async fn many_at_once_are_all_served_by_as_many_threads_as_slots() {
        let slots = Arc::new(Slots::new(3, 8, 1_000));
        let all: Vec<_> = (0..1_000_u32)
            .map(|n| {
                let slots = slots.clone();
                tokio::spawn(async move {
                    let run = slots.run(n % 30, SECOND, move |_| n);
                    // Some go away before it is their turn, or while it is.
                    match n % 7 {
                        0 => tokio::time::timeout(Duration::from_micros(50), run).await.unwrap_or(Ok(n)),
                        _ => run.await,
                    }
                })
            })
            .collect();
        for (n, done) in all.into_iter().enumerate() {
            assert_eq!(done.await.unwrap().unwrap(), u32::try_from(n).unwrap());
        }
        while slots.present().0 > 0 {
            tokio::task::yield_now().await;
        }
        let state = slots.lock();
        assert!(state.waiting.is_empty() && state.free == 3 && state.threads <= 3);
    }
}
