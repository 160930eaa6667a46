//! Worker pool for password hashing: dedicated threads behind a bounded queue, with memory that they reuse.
//!
//! A dedicated thread starts the next hash as soon as one is done, in memory that is already mapped. With async tasks
//! that wait for a semaphore and then for a blocking thread, a core was idle between hashes for a sixth of the time.
//!
//! The threads run at normal priority. With lower priority, the p99 latency of concurrent salted logins was 500 ms
//! instead of 10 ms where the scheduler shares cores between groups of processes (Linux autogroup).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::error::{Error, Result};
use crate::verifier::HashMemory;

/// After this time a client should retry when the queue is full.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Idle memory is returned to the system after this time without a new hash.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);

/// Computes a hash. Returns the function that sends the result, which is called once the slots are free again.
type HashTask = Box<dyn FnOnce(&mut HashMemory) -> SendResult + Send>;
type SendResult = Box<dyn FnOnce() + Send>;

/// A task with its queue permit. Both are taken out by the worker that starts the task, or by the caller if it is
/// cancelled before that.
type QueuedTask = Arc<Mutex<Option<(OwnedSemaphorePermit, HashTask)>>>;

struct Job {
    slots: u32,
    task: QueuedTask,
}

/// How much of a bounded resource is in use, in slots or in queued hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// The number in use now.
    pub used: usize,
    /// The number that exists.
    pub capacity: usize,
}

/// A pool of slots of equal memory, with one worker thread for each slot, and a bounded queue.
pub(super) struct WorkerPool {
    shared: Arc<PoolState>,
    jobs: Sender<Job>,
    /// Each hash that is being computed or waits holds one permit.
    queue_permits: Arc<Semaphore>,
    queue_capacity: usize,
}

struct PoolState {
    slot_count: u32,
    slot_kib: u32,
    idle_timeout: Duration,
    state: Mutex<SlotState>,
    slots_freed: Condvar,
}

struct SlotState {
    free_slots: u32,
    /// Memory that no hash uses, for reuse; never more entries than there are free slots.
    idle_memory: Vec<HashMemory>,
}

/// Drops a task and its queue permit when the caller is cancelled before a worker has started the task.
struct CancelOnDrop(QueuedTask);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        drop(lock(&self.0).take());
    }
}

impl WorkerPool {
    /// `slot_count` slots of `slot_kib` KiB with a thread each, and room for `queue_capacity` hashes, the running ones
    /// included. `None` if the system cannot start a thread.
    pub(super) fn new(slot_count: u32, slot_kib: u32, queue_capacity: usize) -> Option<Self> {
        Self::with_idle_timeout(slot_count, slot_kib, queue_capacity, IDLE_TIMEOUT)
    }

    fn with_idle_timeout(
        slot_count: u32,
        slot_kib: u32,
        queue_capacity: usize,
        idle_timeout: Duration,
    ) -> Option<Self> {
        let (slot_count, slot_kib) = (slot_count.max(1), slot_kib.max(1));
        let state = Mutex::new(SlotState { free_slots: slot_count, idle_memory: Vec::new() });
        let shared = Arc::new(PoolState { slot_count, slot_kib, idle_timeout, state, slots_freed: Condvar::new() });
        let (jobs, queue) = channel();
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..slot_count {
            let (shared, queue) = (Arc::clone(&shared), Arc::clone(&queue));
            std::thread::Builder::new().name("stele-hash".to_owned()).spawn(move || shared.run_worker(&queue)).ok()?;
        }
        Some(Self {
            shared,
            jobs,
            queue_permits: Arc::new(Semaphore::new(queue_capacity.min(Semaphore::MAX_PERMITS))),
            queue_capacity,
        })
    }

    /// How many slots are taken.
    pub(super) fn slot_usage(&self) -> Usage {
        let to_usize = |slots| usize::try_from(slots).unwrap_or(usize::MAX);
        let PoolState { slot_count, .. } = *self.shared;
        Usage { used: to_usize(slot_count - self.shared.lock().free_slots), capacity: to_usize(slot_count) }
    }

    /// How many hashes are being computed or wait for slots.
    pub(super) fn queue_usage(&self) -> Usage {
        let used = self.queue_capacity.saturating_sub(self.queue_permits.available_permits());
        Usage { used, capacity: self.queue_capacity }
    }

    /// The number of slots that together have `memory_kib` KiB; all slots if they have less.
    pub(super) fn slots_needed(&self, memory_kib: u32) -> u32 {
        memory_kib.div_ceil(self.shared.slot_kib).clamp(1, self.shared.slot_count)
    }

    /// Runs `task` in the slots that [`WorkerPool::slots_needed`] gives for `memory_kib` KiB. Tasks start in the order
    /// of the calls. A task that has started runs to its end, even if the caller is cancelled.
    ///
    /// # Errors
    /// [`Error::Busy`] if the queue is full; [`Error::Internal`] if the task panics.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        memory_kib: u32,
        task: impl FnOnce(&mut HashMemory) -> T + Send + 'static,
    ) -> Result<T> {
        let permit = Arc::clone(&self.queue_permits)
            .try_acquire_owned()
            .map_err(|_| Error::Busy { retry_after: RETRY_AFTER })?;
        let (sender, receiver) = oneshot::channel();
        let task: HashTask = Box::new(move |memory| {
            let output = task(memory);
            // Sending fails if the caller was cancelled. The output is then dropped.
            Box::new(move || drop(sender.send(output)))
        });
        let queued: QueuedTask = Arc::new(Mutex::new(Some((permit, task))));
        let cancel_on_drop = CancelOnDrop(Arc::clone(&queued));
        let job = Job { slots: self.slots_needed(memory_kib), task: queued };
        self.jobs.send(job).map_err(|_| Error::internal("no hashing thread"))?;
        let output = receiver.await.map_err(Error::internal);
        drop(cancel_on_drop);
        output
    }
}

impl PoolState {
    fn run_worker(&self, queue: &Mutex<Receiver<Job>>) {
        loop {
            // One worker at a time waits for a job and then for its slots, so that hashes start in the order of calls.
            let receiver = lock(queue);
            match receiver.recv_timeout(self.idle_timeout) {
                // The caller was cancelled while the task was queued, so no slots are needed.
                Ok(job) if lock(&job.task).is_none() => {}
                Ok(job) => {
                    let memory = self.acquire_slots(job.slots);
                    drop(receiver);
                    self.run_task(job, memory);
                }
                Err(RecvTimeoutError::Timeout) => self.lock().idle_memory.clear(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Waits until `slots` slots are free, takes them, and returns memory to work in.
    fn acquire_slots(&self, slots: u32) -> HashMemory {
        let guard = self.slots_freed.wait_while(self.lock(), |state| state.free_slots < slots);
        let mut state = guard.unwrap_or_else(PoisonError::into_inner);
        state.free_slots -= slots;
        let memory = state.idle_memory.pop().unwrap_or_default();
        let max_idle = usize::try_from(state.free_slots).unwrap_or(usize::MAX);
        state.idle_memory.truncate(max_idle);
        memory
    }

    fn run_task(&self, Job { slots, task }: Job, mut memory: HashMemory) {
        let queued = lock(&task).take();
        // A task that panics drops its sender, and the caller gets an error.
        let (permit, send_result) = match queued {
            Some((permit, task)) => (Some(permit), catch_unwind(AssertUnwindSafe(|| task(&mut memory))).ok()),
            None => (None, None),
        };
        let mut state = self.lock();
        state.free_slots += slots;
        // The memory of a hash that took more than one slot is too large to be reused in one slot.
        if memory.size_kib() <= usize::try_from(self.slot_kib).unwrap_or(usize::MAX) {
            state.idle_memory.push(memory);
        }
        drop(state);
        self.slots_freed.notify_one();
        drop(permit);
        if let Some(send_result) = send_result {
            send_result();
        }
    }

    fn lock(&self) -> MutexGuard<'_, SlotState> {
        lock(&self.state)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::future::Future as _;
    use std::task::{Context, Waker};

    use super::*;

    fn idle_memory_sizes(pool: &WorkerPool) -> Vec<usize> {
        pool.shared.lock().idle_memory.iter().map(HashMemory::size_kib).collect()
    }

    /// A task that computes a hash of `kib` KiB and returns the size of the memory that it got.
    fn hash_job(kib: u32) -> impl FnOnce(&mut HashMemory) -> usize + Send {
        let digest = crate::password::PasswordDigest::from_bytes([7; 16]);
        let cost = crate::verifier::Argon2Cost { memory_kib: kib, passes: 1, lanes: 1 };
        move |memory| {
            crate::verifier::hash(&digest, &[1; 16], cost, memory).unwrap();
            memory.size_kib()
        }
    }

    #[tokio::test]
    async fn idle_memory_is_reused_and_bounded_by_the_free_slots() {
        let pool = Arc::new(WorkerPool::new(2, 64, 8).unwrap());
        assert_eq!(pool.run(64, hash_job(64)).await.unwrap(), 64);
        let (first, second) = tokio::join!(pool.run(64, hash_job(64)), pool.run(64, hash_job(64)));
        assert_eq!((first.unwrap(), second.unwrap()), (64, 64));
        assert!((1..=2).contains(&idle_memory_sizes(&pool).len()), "{:?}", idle_memory_sizes(&pool));
        // While a hash takes both slots there is no idle memory, and the memory of that hash is not reused.
        let inner_pool = pool.clone();
        let large = pool.run(128, move |memory| {
            hash_job(128)(memory);
            (idle_memory_sizes(&inner_pool).len(), inner_pool.slot_usage().used)
        });
        assert_eq!(large.await.unwrap(), (0, 2));
        assert!(idle_memory_sizes(&pool).is_empty());
    }

    /// The resident memory of this process, in bytes.
    fn resident_bytes() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
    }

    #[tokio::test]
    async fn idle_memory_is_released_after_a_burst() {
        let cost = crate::verifier::Argon2Cost::default().memory_kib;
        let pool = Arc::new(WorkerPool::with_idle_timeout(2, cost, 8, Duration::from_millis(1)).unwrap());
        let mut after_bursts = Vec::new();
        for _ in 0..10 {
            let burst = (0..8).map(|_| {
                let pool = pool.clone();
                tokio::spawn(async move { pool.run(cost, hash_job(cost)).await.unwrap() })
            });
            for hash in burst.collect::<Vec<_>>() {
                assert_eq!(hash.await.unwrap(), usize::try_from(cost).unwrap());
            }
            while pool.queue_usage().used > 0 || !pool.shared.lock().idle_memory.is_empty() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            after_bursts.push(resident_bytes());
        }
        // Other tests of this process may be hashing during some measurements; a leak would show in all of them.
        let smallest = |bursts: &[u64]| bursts.iter().min().copied().unwrap_or_default();
        let growth = smallest(&after_bursts[5..]).saturating_sub(smallest(&after_bursts[..5]));
        assert!(growth < u64::from(cost) * 1024 / 2, "{after_bursts:?}");
    }

    #[tokio::test]
    async fn a_cancelled_caller_frees_its_queue_permit_and_password() {
        let pool = WorkerPool::new(1, 64, 2).unwrap();
        let (release, wait) = std::sync::mpsc::channel::<()>();
        let busy = pool.run(64, move |_| wait.recv().unwrap());
        let password = Arc::new("a password");
        let mut busy = std::pin::pin!(busy);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(busy.as_mut().poll(&mut cx).is_pending());
        while pool.slot_usage().used == 0 {
            tokio::task::yield_now().await;
        }
        for _ in 0..100 {
            let held_password = Arc::clone(&password);
            let mut waiting = Box::pin(pool.run(64, move |_| drop(held_password)));
            assert!(waiting.as_mut().poll(&mut cx).is_pending());
            drop(waiting);
            assert_eq!((Arc::strong_count(&password), pool.queue_usage().used), (1, 1));
        }
        release.send(()).unwrap();
        busy.await.unwrap();
    }

    #[tokio::test]
    async fn a_panicking_task_fails_and_frees_its_slot() {
        let pool = Arc::new(WorkerPool::new(1, 64, 1).unwrap());
        for _ in 0..3 {
            let failed = pool.run(64, |_| assert_eq!(1, 2, "on purpose")).await;
            assert!(matches!(failed, Err(Error::Internal(_))), "{failed:?}");
            while pool.queue_usage().used > 0 {
                tokio::task::yield_now().await;
            }
        }
        assert_eq!(pool.run(64, hash_job(64)).await.unwrap(), 64);
    }

    #[tokio::test]
    async fn a_thousand_concurrent_tasks_complete_or_are_cancelled_and_free_their_slots() {
        let pool = Arc::new(WorkerPool::new(3, 8, 1_000).unwrap());
        let tasks: Vec<_> = (0..1_000_u32)
            .map(|n| {
                let pool = pool.clone();
                tokio::spawn(async move {
                    let run = pool.run(n % 30, move |_| n);
                    // Every seventh task is cancelled if it does not complete within 50 microseconds.
                    match n % 7 {
                        0 => tokio::time::timeout(Duration::from_micros(50), run).await.unwrap_or(Ok(n)),
                        _ => run.await,
                    }
                })
            })
            .collect();
        for (n, task) in tasks.into_iter().enumerate() {
            assert_eq!(task.await.unwrap().unwrap(), u32::try_from(n).unwrap());
        }
        while pool.queue_usage().used > 0 {
            tokio::task::yield_now().await;
        }
        while pool.slot_usage().used > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(pool.shared.lock().free_slots, 3);
    }
}
