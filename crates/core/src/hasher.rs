//! Password hashing in a bounded number of slots, off the async threads.
//!
//! A slot has the memory of one hash of today's cost. One that needs more (imported, or made before the cost was
//! lowered) takes as many slots as make up its memory, or all of them: so the memory is bounded by the slots', or by
//! the one hash's that alone needs more. It is kept from one hash to the next for as long as they come.

mod worker_pool;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tracing::Instrument as _;

use crate::error::{Error, Result};
use crate::password::PasswordDigest;
use crate::random::Random;
use crate::verifier::{self, Argon2Cost, HashMemory, PresentedSecret, WeakHash};
pub use worker_pool::Usage;
use worker_pool::WorkerPool;

/// What a caller is told to wait when the queue is full.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Computes password hashes: at most `slots` at once (each takes [`Argon2Cost::memory_kib`] KiB), at most `queue` waiting.
#[derive(Clone)]
pub struct Hasher {
    inner: Arc<Shared>,
    workers: Arc<WorkerPool>,
}

struct Shared {
    cost: Argon2Cost,
    dummy: DummyHash,
    computed_hashes: AtomicU64,
}

/// What is hashed where there is nothing to verify, or less than for others.
struct DummyHash {
    digest: PasswordDigest,
    salt: [u8; 16],
}

impl Hasher {
    /// A hasher of `cost`. `None` if the cost is out of argon2's range, or the system gives no thread for each slot.
    pub fn new(cost: Argon2Cost, slots: u32, queue: usize, random: &dyn Random) -> Option<Self> {
        let decoy = DummyHash { digest: PasswordDigest::from_bytes(random.bits128()), salt: random.bits128() };
        // Tried once, so that nothing fails later.
        verifier::hash(&decoy.digest, &decoy.salt, cost, &mut HashMemory::default())?;
        let slots = Arc::new(WorkerPool::new(slots, cost.memory_kib, queue)?);
        Some(Self {
            inner: Arc::new(Shared { cost, dummy: decoy, computed_hashes: AtomicU64::new(0) }),
            workers: slots,
        })
    }

    /// How many times the work of a hash of today's cost was done so far: what "the same work" is measured by.
    pub fn computed_hashes(&self) -> u64 {
        self.inner.computed_hashes.load(Ordering::Relaxed)
    }

    /// How many hashing slots are taken.
    pub fn slot_usage(&self) -> Usage {
        self.workers.slot_usage()
    }

    /// How many hashes are computed or wait for a slot.
    pub fn queue_usage(&self) -> Usage {
        self.workers.queue_usage()
    }

    /// The cost of new hashes.
    pub fn cost(&self) -> Argon2Cost {
        self.inner.cost
    }

    /// argon2id of `digest`, as a PHC string.
    ///
    /// # Errors
    /// [`Error::Busy`] if the queue is full.
    pub async fn hash(&self, digest: PasswordDigest, salt: [u8; 16]) -> Result<String> {
        self.hash_with_cost(self.inner.cost, digest, salt).await
    }

    /// As [`Hasher::hash`], in place of `stored`: never cheaper than that was.
    ///
    /// # Errors
    /// [`Error::Busy`] if the queue is full.
    pub async fn rehash(&self, stored: &str, digest: PasswordDigest, salt: [u8; 16]) -> Result<String> {
        self.hash_with_cost(verifier::replacement_cost(stored, self.inner.cost), digest, salt).await
    }

    /// A cheap hash made elsewhere, wrapped in argon2id.
    ///
    /// # Errors
    /// [`Error::Busy`] if the queue is full.
    pub async fn wrap(&self, weak: WeakHash, salt: [u8; 16]) -> Result<String> {
        let cost = self.inner.cost;
        let wrapped = self.run_job(cost.memory_kib, move |_, memory| verifier::wrap(&weak, &salt, cost, memory));
        wrapped.await?.ok_or_else(|| Error::internal("argon2 refused its parameters"))
    }

    async fn hash_with_cost(&self, cost: Argon2Cost, digest: PasswordDigest, salt: [u8; 16]) -> Result<String> {
        let hash = self.run_job(cost.memory_kib, move |_, memory| verifier::hash(&digest, &salt, cost, memory));
        let hash = hash.await?;
        hash.ok_or_else(|| Error::internal("argon2 refused its parameters"))
    }

    /// Whether `secret` is what `stored` was made from; with `None`, `false` after the same work.
    ///
    /// # Errors
    /// [`Error::Busy`] if the queue is full.
    pub async fn verify(&self, stored: Option<String>, secret: PresentedSecret) -> Result<bool> {
        let size = stored.as_deref().map_or(0, verifier::memory_needed_kib);
        let work = move |inner: &Shared, memory: &mut HashMemory| match &stored {
            Some(stored) => {
                let right = verifier::verify(stored, &secret, memory);
                // A hash that is cheaper than today's (made elsewhere, or before the cost was raised) is made up for,
                // so that the time does not tell that there is one.
                inner.pad_to_current_cost(verifier::verification_work(stored, &secret), memory);
                right
            }
            None => {
                inner.pad_to_current_cost(0, memory);
                false
            }
        };
        self.run_job(size, work).await
    }

    async fn run_job<T: Send + 'static>(
        &self,
        memory: u32,
        work: impl FnOnce(&Shared, &mut HashMemory) -> T + Send + 'static,
    ) -> Result<T> {
        let span = tracing::info_span!(target: crate::TRACE_TARGET, "argon2id");
        let inner = Arc::clone(&self.inner);
        let counted = move |memory: &mut HashMemory| {
            inner.computed_hashes.fetch_add(1, Ordering::Relaxed);
            work(&inner, memory)
        };
        self.workers.run(memory, RETRY_AFTER, counted).instrument(span).await
    }
}

impl Shared {
    /// Does what is left of the work of a hash of today's cost, when `done` KiB were written.
    fn pad_to_current_cost(&self, done: u64, memory: &mut HashMemory) {
        if let Some(rest) = self.cost.remaining_after(done) {
            std::hint::black_box(verifier::hash(&self.dummy.digest, &self.dummy.salt, rest, memory));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::password::RawPassword;
    use crate::random::OsRandom;

    const LOW_COST: Argon2Cost = Argon2Cost { memory_kib: 64, passes: 1, lanes: 1 };

    fn secret() -> PresentedSecret {
        PresentedSecret::Raw(RawPassword::new("123456".into()))
    }

    #[tokio::test]
    async fn an_unknown_user_costs_one_hash_like_a_known_user() {
        let hasher = Hasher::new(LOW_COST, 2, 8, &OsRandom).unwrap();
        let stored = hasher.hash(secret().digest(), [1; 16]).await.unwrap();
        let start = hasher.computed_hashes();
        assert!(hasher.verify(Some(stored), secret()).await.unwrap());
        assert!(!hasher.verify(None, secret()).await.unwrap());
        assert_eq!(hasher.computed_hashes() - start, 2);
    }

    #[tokio::test]
    async fn a_cheaper_hash_is_padded_to_the_current_cost() {
        let dearer = Argon2Cost { passes: 4, ..LOW_COST };
        let hasher = Hasher::new(dearer, 1, 8, &OsRandom).unwrap();
        let start = hasher.computed_hashes();
        for (cost, right) in
            [(LOW_COST, secret()), (dearer, secret()), (Argon2Cost { memory_kib: 256, ..LOW_COST }, secret())]
        {
            let old = verifier::hash(&secret().digest(), &[1; 16], cost, &mut HashMemory::default()).unwrap();
            assert!(hasher.verify(Some(old.clone()), right).await.unwrap());
            assert!(!hasher.verify(Some(old), PresentedSecret::Raw(RawPassword::new("wrong".into()))).await.unwrap());
        }
        assert_eq!(hasher.computed_hashes() - start, 6);
    }

    #[tokio::test]
    async fn a_wrapped_hash_costs_as_much_as_an_unknown_user() {
        let dearer = Argon2Cost { passes: 4, ..LOW_COST };
        let hasher = Hasher::new(dearer, 1, 8, &OsRandom).unwrap();
        let Ok(verifier::ImportedHash::Weak(weak)) =
            verifier::parse_imported("$md5ps$6162$defe12aad396f90e6b179c239de260d4")
        else {
            panic!("a salted md5 is weak")
        };
        let wrapped = hasher.wrap(weak, [1; 16]).await.unwrap();
        let wrong = || PresentedSecret::Raw(RawPassword::new("wrong".into()));
        // All of its work is the outer hash's, and none is left to make up.
        assert_eq!(verifier::verification_work(&wrapped, &wrong()), dearer.total_kib_written());
        assert_eq!(dearer.remaining_after(verifier::verification_work(&wrapped, &wrong())), None);
        let start = hasher.computed_hashes();
        assert!(!hasher.verify(Some(wrapped.clone()), wrong()).await.unwrap());
        assert!(!hasher.verify(Some(wrapped), PresentedSecret::Digest(secret().digest())).await.unwrap());
        assert!(!hasher.verify(None, wrong()).await.unwrap());
        assert_eq!(hasher.computed_hashes() - start, 3);
    }

    #[tokio::test]
    async fn a_large_hash_takes_several_slots_and_keeps_fifo_order() {
        let hasher = Hasher::new(LOW_COST, 4, 8, &OsRandom).unwrap();
        for (memory, slots) in [(0, 1), (64, 1), (65, 2), (256, 4), (u32::MAX, 4)] {
            assert_eq!(hasher.workers.slots_needed(memory), slots, "{memory}");
        }
        let (release, wait) = std::sync::mpsc::channel::<()>();
        let (begin, begun) = std::sync::mpsc::channel();
        let mut one = std::pin::pin!(hasher.run_job(0, move |_, _| begin.send(()).and(Ok(wait.recv()))));
        let large = Argon2Cost { memory_kib: 256, ..LOW_COST };
        let large = verifier::hash(&secret().digest(), &[1; 16], large, &mut HashMemory::default()).unwrap();
        let mut all = std::pin::pin!(hasher.verify(Some(large), secret()));
        let mut next = std::pin::pin!(hasher.verify(None, secret()));
        let polled = std::future::poll_fn(|context| {
            let first = one.as_mut().poll(context).is_pending();
            begun.recv().unwrap();
            std::task::Poll::Ready([
                first,
                all.as_mut().poll(context).is_pending(),
                next.as_mut().poll(context).is_pending(),
            ])
        });
        assert_eq!(polled.await, [true; 3]);
        // The large one waits for the only slot that is taken, and whoever comes later waits behind it.
        assert_eq!((hasher.slot_usage(), hasher.queue_usage().used), (Usage { used: 1, capacity: 4 }, 3));
        release.send(()).unwrap();
        let (one, all, next) = tokio::join!(one, all, next);
        assert!(one.unwrap().unwrap().is_ok() && all.unwrap() && !next.unwrap());
        assert_eq!((hasher.slot_usage(), hasher.queue_usage().used), (Usage { used: 0, capacity: 4 }, 0));
    }

    #[tokio::test]
    async fn a_cancelled_caller_holds_its_slot_until_the_hash_finishes() {
        let hasher = Hasher::new(LOW_COST, 1, 2, &OsRandom).unwrap();
        let (release, wait) = std::sync::mpsc::channel::<()>();
        let work = hasher.run_job(0, move |_, _| wait.recv());
        let gone = tokio::time::timeout(Duration::from_millis(20), work).await;
        assert!(gone.is_err());
        assert_eq!(hasher.queue_usage().used, 1);
        assert_eq!(hasher.slot_usage(), Usage { used: 1, capacity: 1 });
        release.send(()).unwrap();
        assert!(!hasher.verify(None, secret()).await.unwrap());
    }

    #[tokio::test]
    async fn a_full_queue_is_rejected_as_busy_and_recovers() {
        let hasher = Hasher::new(LOW_COST, 1, 0, &OsRandom).unwrap();
        let full = hasher.verify(None, secret()).await;
        assert!(matches!(full, Err(Error::Busy { .. })), "{full:?}");
        assert_eq!(hasher.queue_usage().used, 0);
    }
}
