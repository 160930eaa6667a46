//! A fixed set of threads that hash, and the memory they share.
//!
//! Threads of their own take the next hash as soon as one is done, in memory that is already mapped. Tasks that wait for
//! a permit and then for a blocking thread leave a core idle in between, for a sixth of the time.
//!
//! They have no lower priority: where the system shares cores by groups of processes (Linux's autogroup), p99 of the
//! salted logins beside them was 500 ms with it and 10 ms without.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::error::{Error, Result};
use crate::verifier::HashMemory;

/// How long without a new hash until memory is given back.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);

/// A hash to compute. It gives what sends its result, to be called once its slots are free again.
type HashTask = Box<dyn FnOnce(&mut HashMemory) -> SendResult + Send>;
type SendResult = Box<dyn FnOnce() + Send>;

/// A place in the queue, with the work: taken out by the thread that begins it, or by the caller who gives up before that.
type QueuedTask = Arc<Mutex<Option<(OwnedSemaphorePermit, HashTask)>>>;

struct Job {
    slots: u32,
    task: QueuedTask,
}

/// Slots of so many KiB each, as many threads, and a queue before them.
pub(super) struct WorkerPool {
    shared: Arc<PoolState>,
    jobs: Sender<Job>,
    /// Bounds how many hashes are computed or wait.
    queue_permits: Arc<Semaphore>,
    queue_capacity: usize,
}

struct PoolState {
    slot_count: u32,
    /// The KiB of a slot.
    slot_kib: u32,
    idle_timeout: Duration,
    state: Mutex<SlotState>,
    slots_freed: Condvar,
}

struct SlotState {
    free_slots: u32,
    /// Memory that no hash works in, of at most the free slots.
    idle_memory: Vec<HashMemory>,
}

/// Gives the place up when the caller is gone, unless the work has begun.
struct CancelOnDrop(QueuedTask);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        drop(lock(&self.0).take());
    }
}

impl WorkerPool {
    /// `size` slots of `memory` KiB with a thread each, and room for `most` hashes, waiting ones included. `None` if
    /// the system gives no thread.
    pub(super) fn new(size: u32, memory: u32, most: usize) -> Option<Self> {
        Self::with_idle_timeout(size, memory, most, IDLE_TIMEOUT)
    }

    fn with_idle_timeout(size: u32, memory: u32, most: usize, idle: Duration) -> Option<Self> {
        let (size, memory) = (size.max(1), memory.max(1));
        let state = Mutex::new(SlotState { free_slots: size, idle_memory: Vec::new() });
        let shared = Arc::new(PoolState {
            slot_count: size,
            slot_kib: memory,
            idle_timeout: idle,
            state,
            slots_freed: Condvar::new(),
        });
        let (jobs, queue) = channel();
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..size {
            let (shared, queue) = (Arc::clone(&shared), Arc::clone(&queue));
            std::thread::Builder::new().name("stele-hash".to_owned()).spawn(move || shared.run_worker(&queue)).ok()?;
        }
        Some(Self {
            shared,
            jobs,
            queue_permits: Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS))),
            queue_capacity: most,
        })
    }

    /// How many slots are taken, of how many.
    pub(super) fn slot_usage(&self) -> (usize, usize) {
        let count = |slots| usize::try_from(slots).unwrap_or(usize::MAX);
        (count(self.shared.slot_count - self.shared.lock().free_slots), count(self.shared.slot_count))
    }

    /// How many are in slots or wait, of how many at most.
    pub(super) fn queue_usage(&self) -> (usize, usize) {
        (self.queue_capacity.saturating_sub(self.queue_permits.available_permits()), self.queue_capacity)
    }

    /// How many slots have `memory` KiB.
    pub(super) fn slots_needed(&self, memory: u32) -> u32 {
        memory.div_ceil(self.shared.slot_kib).clamp(1, self.shared.slot_count)
    }

    /// Does `work` in as many slots as have `memory` KiB, in turn. Once it has begun it ends, even if the caller is gone.
    ///
    /// # Errors
    /// [`Error::Busy`] if the queue is full; faults of ours.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        memory: u32,
        retry_after: Duration,
        work: impl FnOnce(&mut HashMemory) -> T + Send + 'static,
    ) -> Result<T> {
        let permit = Arc::clone(&self.queue_permits).try_acquire_owned().map_err(|_| Error::Busy { retry_after })?;
        let (reply, answer) = oneshot::channel();
        let work: HashTask = Box::new(move |memory| {
            let done = work(memory);
            // The caller may be gone.
            Box::new(move || drop(reply.send(done)))
        });
        let place: QueuedTask = Arc::new(Mutex::new(Some((permit, work))));
        let waiting = CancelOnDrop(Arc::clone(&place));
        let job = Job { slots: self.slots_needed(memory), task: place };
        self.jobs.send(job).map_err(|_| Error::internal("no hashing thread"))?;
        let done = answer.await.map_err(Error::internal);
        drop(waiting);
        done
    }
}

impl PoolState {
    fn run_worker(&self, queue: &Mutex<Receiver<Job>>) {
        loop {
            // One thread at a time waits, for work and then for its slots: so hashes begin in the order of their calls.
            let receiver = lock(queue);
            match receiver.recv_timeout(self.idle_timeout) {
                // Its caller has gone: it needs no slots.
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

    /// Waits until so many slots are free, and takes them with memory to work in.
    fn acquire_slots(&self, slots: u32) -> HashMemory {
        let waited = self.slots_freed.wait_while(self.lock(), |state| state.free_slots < slots);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        state.free_slots -= slots;
        let memory = state.idle_memory.pop().unwrap_or_default();
        let most = usize::try_from(state.free_slots).unwrap_or(usize::MAX);
        state.idle_memory.truncate(most);
        memory
    }

    fn run_task(&self, Job { slots, task: place }: Job, mut memory: HashMemory) {
        let taken = lock(&place).take();
        // Work that panics has failed: its answer is dropped with it.
        let (permit, answer) = match taken {
            Some((permit, work)) => (Some(permit), catch_unwind(AssertUnwindSafe(|| work(&mut memory))).ok()),
            None => (None, None),
        };
        let mut state = self.lock();
        state.free_slots += slots;
        // That of a hash of more than today's cost is no slot's.
        if memory.size_kib() <= usize::try_from(self.slot_kib).unwrap_or(usize::MAX) {
            state.idle_memory.push(memory);
        }
        drop(state);
        self.slots_freed.notify_one();
        drop(permit);
        if let Some(answer) = answer {
            answer();
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

    const SECOND: Duration = Duration::from_secs(1);

    fn idle_memory_sizes(slots: &WorkerPool) -> Vec<usize> {
        slots.shared.lock().idle_memory.iter().map(HashMemory::size_kib).collect()
    }

    /// So much work as to have its memory.
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
        let slots = Arc::new(WorkerPool::new(2, 64, 8).unwrap());
        assert_eq!(slots.run(64, SECOND, hash_job(64)).await.unwrap(), 64);
        let both = async { tokio::join!(slots.run(64, SECOND, hash_job(64)), slots.run(64, SECOND, hash_job(64))) };
        let (one, two) = both.await;
        assert_eq!((one.unwrap(), two.unwrap()), (64, 64));
        assert!((1..=2).contains(&idle_memory_sizes(&slots).len()), "{:?}", idle_memory_sizes(&slots));
        // One that takes both slots has them to itself, and keeps nothing that is larger than a slot.
        let inner = slots.clone();
        let beside = slots.run(128, SECOND, move |memory| {
            hash_job(128)(memory);
            (idle_memory_sizes(&inner).len(), inner.slot_usage().0)
        });
        assert_eq!(beside.await.unwrap(), (0, 2));
        assert!(idle_memory_sizes(&slots).is_empty());
    }

    /// Bytes of this process that are in memory.
    fn resident_bytes() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
    }

    #[tokio::test]
    async fn idle_memory_is_released_after_a_burst() {
        let cost = crate::verifier::Argon2Cost::default().memory_kib;
        let slots = Arc::new(WorkerPool::with_idle_timeout(2, cost, 8, Duration::from_millis(1)).unwrap());
        let mut after_bursts = Vec::new();
        for _ in 0..10 {
            let burst = (0..8).map(|_| {
                let slots = slots.clone();
                tokio::spawn(async move { slots.run(cost, SECOND, hash_job(cost)).await.unwrap() })
            });
            for hash in burst.collect::<Vec<_>>() {
                assert_eq!(hash.await.unwrap(), usize::try_from(cost).unwrap());
            }
            while slots.queue_usage().0 > 0 || !slots.shared.lock().idle_memory.is_empty() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            after_bursts.push(resident_bytes());
        }
        // Other tests of this process may be hashing when one is looked at; what is never given back is there in all of
        // them.
        let least = |bursts: &[u64]| bursts.iter().min().copied().unwrap_or_default();
        let growth = least(&after_bursts[5..]).saturating_sub(least(&after_bursts[..5]));
        assert!(growth < u64::from(cost) * 1024 / 2, "{after_bursts:?}");
    }

    #[tokio::test]
    async fn a_cancelled_caller_frees_its_queue_place_and_password() {
        let slots = WorkerPool::new(1, 64, 2).unwrap();
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let busy = slots.run(64, SECOND, move |_| wait.recv().unwrap());
        let password = Arc::new("a password");
        let mut busy = std::pin::pin!(busy);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(busy.as_mut().poll(&mut cx).is_pending());
        while slots.slot_usage().0 == 0 {
            tokio::task::yield_now().await;
        }
        for _ in 0..100 {
            let held = Arc::clone(&password);
            let mut waits = Box::pin(slots.run(64, SECOND, move |_| drop(held)));
            assert!(waits.as_mut().poll(&mut cx).is_pending());
            drop(waits);
            assert_eq!((Arc::strong_count(&password), slots.queue_usage().0), (1, 1));
        }
        go.send(()).unwrap();
        busy.await.unwrap();
    }

    #[tokio::test]
    async fn a_panicking_task_fails_and_frees_its_slot() {
        let slots = Arc::new(WorkerPool::new(1, 64, 1).unwrap());
        for _ in 0..3 {
            let failed = slots.run(64, SECOND, |_| assert_eq!(1, 2, "on purpose")).await;
            assert!(matches!(failed, Err(Error::Internal(_))), "{failed:?}");
            while slots.queue_usage().0 > 0 {
                tokio::task::yield_now().await;
            }
        }
        assert_eq!(slots.run(64, SECOND, hash_job(64)).await.unwrap(), 64);
    }

    #[tokio::test]
    async fn a_thousand_concurrent_tasks_all_complete() {
        let slots = Arc::new(WorkerPool::new(3, 8, 1_000).unwrap());
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
        while slots.queue_usage().0 > 0 {
            tokio::task::yield_now().await;
        }
        while slots.slot_usage().0 > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(slots.shared.lock().free_slots, 3);
    }
}
