//! Password hashing with argon2id outside the async threads, in a bounded number of hashing slots with a bounded queue
//! (load shedding). Every verification costs the work of one hash at the current cost, whether or not the user exists
//! (user enumeration through a timing side channel).
//!
//! A slot has the memory of one hash at the current cost. A hash that needs more (imported, or made before the cost was
//! lowered) takes as many slots as together have that memory, or all slots. Total memory is therefore bounded by the
//! memory of all slots, or by that of the single largest hash. Worker threads reuse memory between hashes.

mod worker_pool;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing::Instrument as _;

use crate::error::{Error, Result};
use crate::password::PasswordDigest;
use crate::random::Random;
use crate::verifier::{self, Argon2Cost, HashMemory, PendingHash, PresentedSecret, WeakHash};
pub use worker_pool::Usage;
use worker_pool::WorkerPool;

/// Computes and verifies password hashes in a bounded worker pool. Cheap to clone.
#[derive(Clone)]
pub struct Hasher {
    shared: Arc<Shared>,
    workers: Arc<WorkerPool>,
}

struct Shared {
    cost: Argon2Cost,
    dummy: DummyHash,
    computed_hashes: AtomicU64,
}

/// The input that is hashed to pad the work where there is no verifier or a cheaper one, so that response times are
/// equal (user enumeration).
struct DummyHash {
    digest: PasswordDigest,
    salt: [u8; 16],
}

impl Hasher {
    /// A hasher with `slots` slots of [`Argon2Cost::memory_kib`] KiB each. At most `queue_capacity` hashes are computed
    /// or wait at a time. `None` if argon2 rejects `cost`, or the system cannot start a thread for each slot.
    pub fn new(cost: Argon2Cost, slots: u32, queue_capacity: usize, random: &dyn Random) -> Option<Self> {
        let dummy = DummyHash { digest: PasswordDigest::from_bytes(random.bits128()), salt: random.bits128() };
        // Hash once, so that an unusable cost fails here and not at the first login.
        verifier::hash(&dummy.digest, &dummy.salt, cost, &mut HashMemory::default())?;
        let workers = Arc::new(WorkerPool::new(slots, cost.memory_kib, queue_capacity)?);
        Some(Self { shared: Arc::new(Shared { cost, dummy, computed_hashes: AtomicU64::new(0) }), workers })
    }

    /// How many hashes were computed, verified or padded so far, each at the current cost or more. Tests compare the
    /// work of code paths by this number.
    pub fn computed_hashes(&self) -> u64 {
        self.shared.computed_hashes.load(Ordering::Relaxed)
    }

    /// How many hashing slots are taken.
    pub fn slot_usage(&self) -> Usage {
        self.workers.slot_usage()
    }

    /// How many hashes are being computed or wait for a slot.
    pub fn queue_usage(&self) -> Usage {
        self.workers.queue_usage()
    }

    /// The cost of new hashes.
    pub fn cost(&self) -> Argon2Cost {
        self.shared.cost
    }

    /// Computes argon2id of `digest` at the current cost, as a PHC string.
    ///
    /// # Errors
    /// [`Error::Busy`] if the queue is full; `Internal` if hashing fails.
    pub async fn hash(&self, digest: PasswordDigest, salt: [u8; 16]) -> Result<String> {
        self.hash_with_cost(self.shared.cost, digest, salt).await
    }

    /// Computes a hash as [`Hasher::hash`] does, to replace `stored` (rehash on login). Its cost is at least that of
    /// `stored`.
    ///
    /// # Errors
    /// [`Error::Busy`] if the queue is full; `Internal` if hashing fails.
    pub async fn rehash(&self, stored: &str, digest: PasswordDigest, salt: [u8; 16]) -> Result<String> {
        self.hash_with_cost(verifier::replacement_cost(stored, self.shared.cost), digest, salt).await
    }

    /// Wraps an imported, cheap hash in argon2id.
    ///
    /// # Errors
    /// [`Error::Busy`] if the queue is full; `Internal` if hashing fails.
    pub async fn wrap(&self, weak: WeakHash, salt: [u8; 16]) -> Result<String> {
        let cost = self.shared.cost;
        let job = self.run_job(cost.memory_kib, move |_, memory| verifier::wrap(&weak, &salt, cost, memory));
        job.await?.ok_or_else(|| Error::internal("argon2 rejected its parameters"))
    }

    async fn hash_with_cost(&self, cost: Argon2Cost, digest: PasswordDigest, salt: [u8; 16]) -> Result<String> {
        let job = self.run_job(cost.memory_kib, move |_, memory| verifier::hash(&digest, &salt, cost, memory));
        job.await?.ok_or_else(|| Error::internal("argon2 rejected its parameters"))
    }

    /// Whether `secret` matches the verifier `stored`. With `None`, for an unknown user, returns `false` after the same
    /// work.
    ///
    /// # Errors
    /// [`Error::Busy`] if the queue is full; `Internal` if hashing fails.
    pub async fn verify(&self, stored: Option<String>, secret: PresentedSecret) -> Result<bool> {
        let memory_kib = stored.as_deref().map_or(0, verifier::memory_needed_kib);
        let task = move |shared: &Shared, memory: &mut HashMemory| match &stored {
            Some(stored) => {
                let is_match = verifier::verify(stored, &secret, memory);
                // Pad the work of a hash cheaper than the current cost (imported, or made before the cost was raised),
                // so that the time does not reveal that the account exists.
                shared.pad_to_current_cost(verifier::verification_work(stored, &secret), memory);
                is_match
            }
            None => {
                shared.pad_to_current_cost(0, memory);
                false
            }
        };
        self.run_job(memory_kib, task).await
    }

    /// Whether `secret` matches an imported hash that is not wrapped in argon2id yet. The work is that of
    /// [`Hasher::verify`].
    ///
    /// # Errors
    /// [`Error::Busy`] if the queue is full; `Internal` if hashing fails.
    pub async fn verify_pending(&self, pending: PendingHash, secret: PresentedSecret) -> Result<bool> {
        let (work, memory_kib) = pending.verification_cost(&secret);
        let task = move |shared: &Shared, memory: &mut HashMemory| {
            let is_match = pending.verify(&secret, memory);
            shared.pad_to_current_cost(work, memory);
            is_match
        };
        self.run_job(memory_kib, task).await
    }

    async fn run_job<T: Send + 'static>(
        &self,
        memory_kib: u32,
        task: impl FnOnce(&Shared, &mut HashMemory) -> T + Send + 'static,
    ) -> Result<T> {
        let span = tracing::info_span!(target: crate::TRACE_TARGET, "argon2id");
        let shared = Arc::clone(&self.shared);
        let counted_task = move |memory: &mut HashMemory| {
            shared.computed_hashes.fetch_add(1, Ordering::Relaxed);
            task(&shared, memory)
        };
        self.workers.run(memory_kib, counted_task).instrument(span).await
    }
}

impl Shared {
    /// Pads the work to that of one hash at the current cost, after `done_kib` KiB were written already.
    fn pad_to_current_cost(&self, done_kib: u64, memory: &mut HashMemory) {
        if let Some(remaining) = self.cost.remaining_after(done_kib) {
            std::hint::black_box(verifier::hash(&self.dummy.digest, &self.dummy.salt, remaining, memory));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
    async fn hashes_of_any_cost_verify_and_each_counts_as_one_hash() {
        let higher_cost = Argon2Cost { passes: 4, ..LOW_COST };
        let hasher = Hasher::new(higher_cost, 1, 8, &OsRandom).unwrap();
        let start = hasher.computed_hashes();
        for cost in [LOW_COST, higher_cost, Argon2Cost { memory_kib: 256, ..LOW_COST }] {
            let old = verifier::hash(&secret().digest(), &[1; 16], cost, &mut HashMemory::default()).unwrap();
            assert!(hasher.verify(Some(old.clone()), secret()).await.unwrap());
            assert!(!hasher.verify(Some(old), PresentedSecret::Raw(RawPassword::new("wrong".into()))).await.unwrap());
        }
        assert_eq!(hasher.computed_hashes() - start, 6);
    }

    #[tokio::test]
    async fn a_wrapped_hash_costs_as_much_as_an_unknown_user() {
        let higher_cost = Argon2Cost { passes: 4, ..LOW_COST };
        let hasher = Hasher::new(higher_cost, 1, 8, &OsRandom).unwrap();
        let Ok(verifier::ImportedHash::Weak(weak)) =
            verifier::parse_imported("$md5ps$6162$defe12aad396f90e6b179c239de260d4")
        else {
            panic!("a salted md5 is weak")
        };
        let wrapped = hasher.wrap(weak, [1; 16]).await.unwrap();
        let wrong_secret = || PresentedSecret::Raw(RawPassword::new("wrong".into()));
        // The outer hash alone has the full cost, so there is nothing to pad.
        assert_eq!(verifier::verification_work(&wrapped, &wrong_secret()), higher_cost.total_kib_written());
        assert_eq!(higher_cost.remaining_after(verifier::verification_work(&wrapped, &wrong_secret())), None);
        let start = hasher.computed_hashes();
        assert!(!hasher.verify(Some(wrapped.clone()), wrong_secret()).await.unwrap());
        assert!(!hasher.verify(Some(wrapped), PresentedSecret::Digest(secret().digest())).await.unwrap());
        assert!(!hasher.verify(None, wrong_secret()).await.unwrap());
        assert_eq!(hasher.computed_hashes() - start, 3);
    }

    #[tokio::test]
    async fn a_waiting_hash_costs_as_much_as_an_unknown_user() {
        let hasher = Hasher::new(LOW_COST, 1, 8, &OsRandom).unwrap();
        let wrong = || PresentedSecret::Raw(RawPassword::new("wrong".into()));
        let argon2 = "argon2$argon2id$v=19$m=32,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        for (text, done_kib) in [
            ("e10adc3949ba59abbe56e057f20f883e", 0),
            ("$md5ds$6162$defe12aad396f90e6b179c239de260d4", 0),
            ("pbkdf2_sha1$1$salt$eyQQJQvJZPc+gmzZo4HhXSm7R0Y=", 0),
            (argon2, 32),
        ] {
            for secret in [wrong(), PresentedSecret::Digest(wrong().digest())] {
                let pending = PendingHash::new(verifier::parse_imported(text).unwrap()).unwrap();
                let (done, _) = pending.verification_cost(&secret);
                let is_digest = matches!(secret, PresentedSecret::Digest(_));
                assert_eq!(done, if is_digest { 0 } else { done_kib }, "{text}");
                let start = hasher.computed_hashes();
                assert!(!hasher.verify_pending(pending, secret).await.unwrap());
                assert_eq!(hasher.computed_hashes() - start, 1);
            }
        }
    }

    #[tokio::test]
    async fn a_large_hash_takes_several_slots_and_keeps_fifo_order() {
        let hasher = Hasher::new(LOW_COST, 4, 8, &OsRandom).unwrap();
        for (memory, slots) in [(0, 1), (64, 1), (65, 2), (256, 4), (u32::MAX, 4)] {
            assert_eq!(hasher.workers.slots_needed(memory), slots, "{memory}");
        }
        let (release, wait) = std::sync::mpsc::channel::<()>();
        let (start, started) = std::sync::mpsc::channel();
        let mut small = std::pin::pin!(hasher.run_job(0, move |_, _| start.send(()).and(Ok(wait.recv()))));
        let large_cost = Argon2Cost { memory_kib: 256, ..LOW_COST };
        let large = verifier::hash(&secret().digest(), &[1; 16], large_cost, &mut HashMemory::default()).unwrap();
        let mut large_job = std::pin::pin!(hasher.verify(Some(large), secret()));
        let mut next = std::pin::pin!(hasher.verify(None, secret()));
        let polled = std::future::poll_fn(|context| {
            let small_pending = small.as_mut().poll(context).is_pending();
            started.recv().unwrap();
            std::task::Poll::Ready([
                small_pending,
                large_job.as_mut().poll(context).is_pending(),
                next.as_mut().poll(context).is_pending(),
            ])
        });
        assert_eq!(polled.await, [true; 3]);
        // The large hash waits for the one busy slot, and later hashes wait behind it.
        assert_eq!((hasher.slot_usage(), hasher.queue_usage().used), (Usage { used: 1, capacity: 4 }, 3));
        release.send(()).unwrap();
        let (small, large_job, next) = tokio::join!(small, large_job, next);
        assert!(small.unwrap().unwrap().is_ok() && large_job.unwrap() && !next.unwrap());
        assert_eq!((hasher.slot_usage(), hasher.queue_usage().used), (Usage { used: 0, capacity: 4 }, 0));
    }

    #[tokio::test]
    async fn a_cancelled_caller_holds_its_slot_until_the_hash_finishes() {
        let hasher = Hasher::new(LOW_COST, 1, 2, &OsRandom).unwrap();
        let (release, wait) = std::sync::mpsc::channel::<()>();
        let job = hasher.run_job(0, move |_, _| wait.recv());
        let timed_out = tokio::time::timeout(Duration::from_millis(20), job).await;
        assert!(timed_out.is_err());
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
