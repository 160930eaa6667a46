//! Password hashing in a bounded number of slots, off the async threads.
//!
//! A slot has the memory of one hash of today's cost. One that needs more (imported, or made before the cost was
//! lowered) takes as many slots as make up its memory, or all of them: so the memory is bounded by the slots', or by
//! the one hash's that alone needs more. It is kept from one hash to the next for as long as they come.

mod slots;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tracing::Instrument as _;

use crate::error::{Error, Result};
use crate::password::PasswordDigest;
use crate::random::Random;
use crate::verifier::{self, Cost, Memory, Secret, Weak};
use slots::Slots;

/// What a caller is told to wait when the queue is full.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Computes password hashes: at most `slots` at once (each takes [`Cost::memory`] KiB), at most `queue` waiting.
#[derive(Clone)]
pub struct Hasher {
    inner: Arc<Inner>,
    slots: Arc<Slots>,
}

struct Inner {
    cost: Cost,
    decoy: Decoy,
    computed: AtomicU64,
}

/// What is hashed where there is nothing to verify, or less than for others.
struct Decoy {
    digest: PasswordDigest,
    salt: [u8; 16],
}

impl Hasher {
    /// A hasher of `cost`. `None` if the cost is out of argon2's range, or the system gives no thread for each slot.
    pub fn new(cost: Cost, slots: u32, queue: usize, random: &dyn Random) -> Option<Self> {
        let decoy = Decoy { digest: PasswordDigest::from_bytes(random.bits128()), salt: random.bits128() };
        // Tried once, so that nothing fails later.
        verifier::hash(&decoy.digest, &decoy.salt, cost, &mut Memory::default())?;
        let slots = Arc::new(Slots::new(slots, cost.memory, queue)?);
        Some(Self { inner: Arc::new(Inner { cost, decoy, computed: AtomicU64::new(0) }), slots })
    }

    /// How many times the work of a hash of today's cost was done so far: what "the same work" is measured by.
    pub fn computed(&self) -> u64 {
        self.inner.computed.load(Ordering::Relaxed)
    }

    /// How many slots are taken right now, of how many.
    pub fn slots(&self) -> (usize, usize) {
        self.slots.taken()
    }

    /// How many hashes are computed or wait for a slot, of how many at most.
    pub fn queue(&self) -> (usize, usize) {
        self.slots.present()
    }

    /// The cost of new hashes.
    pub fn cost(&self) -> Cost {
        self.inner.cost
    }

    /// argon2id of `digest`, as a PHC string.
    ///
    /// # Errors
    /// [`Error::Busy`] if the queue is full.
    pub async fn hash(&self, digest: PasswordDigest, salt: [u8; 16]) -> Result<String> {
        self.hash_at(self.inner.cost, digest, salt).await
    }

    /// As [`Hasher::hash`], in place of `stored`: never cheaper than that was.
    ///
    /// # Errors
    /// [`Error::Busy`] if the queue is full.
    pub async fn replace(&self, stored: &str, digest: PasswordDigest, salt: [u8; 16]) -> Result<String> {
        self.hash_at(verifier::replacement(stored, self.inner.cost), digest, salt).await
    }

    /// A cheap hash made elsewhere, wrapped in argon2id.
    ///
    /// # Errors
    /// [`Error::Busy`] if the queue is full.
    pub async fn wrap(&self, weak: Weak, salt: [u8; 16]) -> Result<String> {
        let cost = self.inner.cost;
        let wrapped = self.run(cost.memory, move |_, memory| verifier::wrap(&weak, &salt, cost, memory));
        wrapped.await?.ok_or_else(|| Error::internal("argon2 refused its parameters"))
    }

    async fn hash_at(&self, cost: Cost, digest: PasswordDigest, salt: [u8; 16]) -> Result<String> {
        let hash = self.run(cost.memory, move |_, memory| verifier::hash(&digest, &salt, cost, memory));
        let hash = hash.await?;
        hash.ok_or_else(|| Error::internal("argon2 refused its parameters"))
    }

    /// Whether `secret` is what `stored` was made from; with `None`, `false` after the same work.
    ///
    /// # Errors
    /// [`Error::Busy`] if the queue is full.
    pub async fn verify(&self, stored: Option<String>, secret: Secret) -> Result<bool> {
        let size = stored.as_deref().map_or(0, verifier::memory);
        let work = move |inner: &Inner, memory: &mut Memory| match &stored {
            Some(stored) => {
                let right = verifier::verify(stored, &secret, memory);
                // A hash that is cheaper than today's (made elsewhere, or before the cost was raised) is made up for,
                // so that the time does not tell that there is one.
                inner.make_up(verifier::work(stored, &secret), memory);
                right
            }
            None => {
                inner.make_up(0, memory);
                false
            }
        };
        self.run(size, work).await
    }

    async fn run<T: Send + 'static>(
        &self,
        memory: u32,
        work: impl FnOnce(&Inner, &mut Memory) -> T + Send + 'static,
    ) -> Result<T> {
        let span = tracing::info_span!(target: crate::TRACE, "argon2id");
        let inner = Arc::clone(&self.inner);
        let counted = move |memory: &mut Memory| {
            inner.computed.fetch_add(1, Ordering::Relaxed);
            work(&inner, memory)
        };
        self.slots.run(memory, RETRY_AFTER, counted).instrument(span).await
    }
}

impl Inner {
    /// Does what is left of the work of a hash of today's cost, when `done` KiB were written.
    fn make_up(&self, done: u64, memory: &mut Memory) {
        if let Some(rest) = self.cost.rest(done) {
            std::hint::black_box(verifier::hash(&self.decoy.digest, &self.decoy.salt, rest, memory));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::password::RawPassword;
    use crate::random::OsRandom;

    const CHEAP: Cost = Cost { memory: 64, passes: 1, lanes: 1 };

    fn secret() -> Secret {
        Secret::Raw(RawPassword::new("123456".into()))
    }

    #[tokio::test]
    async fn nobody_costs_as_much_as_somebody() {
        let hasher = Hasher::new(CHEAP, 2, 8, &OsRandom).unwrap();
        let stored = hasher.hash(secret().digest(), [1; 16]).await.unwrap();
        let start = hasher.computed();
        assert!(hasher.verify(Some(stored), secret()).await.unwrap());
        assert!(!hasher.verify(None, secret()).await.unwrap());
        assert_eq!(hasher.computed() - start, 2);
    }

    #[tokio::test]
    async fn a_hash_of_another_price_is_made_up_to_todays() {
        let dearer = Cost { passes: 4, ..CHEAP };
        let hasher = Hasher::new(dearer, 1, 8, &OsRandom).unwrap();
        let start = hasher.computed();
        for (cost, right) in [(CHEAP, secret()), (dearer, secret()), (Cost { memory: 256, ..CHEAP }, secret())] {
            let old = verifier::hash(&secret().digest(), &[1; 16], cost, &mut Memory::default()).unwrap();
            assert!(hasher.verify(Some(old.clone()), right).await.unwrap());
            assert!(!hasher.verify(Some(old), Secret::Raw(RawPassword::new("wrong".into()))).await.unwrap());
        }
        assert_eq!(hasher.computed() - start, 6);
    }

    #[tokio::test]
    async fn a_wrapped_hash_costs_what_an_unknown_user_costs() {
        let dearer = Cost { passes: 4, ..CHEAP };
        let hasher = Hasher::new(dearer, 1, 8, &OsRandom).unwrap();
        let Ok(verifier::Imported::Weak(weak)) = verifier::import("$md5ps$6162$defe12aad396f90e6b179c239de260d4")
        else {
            panic!("a salted md5 is weak")
        };
        let wrapped = hasher.wrap(weak, [1; 16]).await.unwrap();
        let wrong = || Secret::Raw(RawPassword::new("wrong".into()));
        // All of its work is the outer hash's, and none is left to make up.
        assert_eq!(verifier::work(&wrapped, &wrong()), dearer.work());
        assert_eq!(dearer.rest(verifier::work(&wrapped, &wrong())), None);
        let start = hasher.computed();
        assert!(!hasher.verify(Some(wrapped.clone()), wrong()).await.unwrap());
        assert!(!hasher.verify(Some(wrapped), Secret::Digest(secret().digest())).await.unwrap());
        assert!(!hasher.verify(None, wrong()).await.unwrap());
        assert_eq!(hasher.computed() - start, 3);
    }

    #[tokio::test]
    async fn a_hash_takes_the_slots_that_have_its_memory() {
        let hasher = Hasher::new(CHEAP, 4, 8, &OsRandom).unwrap();
        for (memory, slots) in [(0, 1), (64, 1), (65, 2), (256, 4), (u32::MAX, 4)] {
            assert_eq!(hasher.slots.needed(memory), slots, "{memory}");
        }
        let (release, wait) = std::sync::mpsc::channel::<()>();
        let (begin, begun) = std::sync::mpsc::channel();
        let mut one = std::pin::pin!(hasher.run(0, move |_, _| begin.send(()).and(Ok(wait.recv()))));
        let large = Cost { memory: 256, ..CHEAP };
        let large = verifier::hash(&secret().digest(), &[1; 16], large, &mut Memory::default()).unwrap();
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
        assert_eq!((hasher.slots(), hasher.queue().0), ((1, 4), 3));
        release.send(()).unwrap();
        let (one, all, next) = tokio::join!(one, all, next);
        assert!(one.unwrap().unwrap().is_ok() && all.unwrap() && !next.unwrap());
        assert_eq!((hasher.slots(), hasher.queue().0), ((0, 4), 0));
    }

    #[tokio::test]
    async fn a_caller_who_goes_away_keeps_the_slot_until_the_work_is_done() {
        let hasher = Hasher::new(CHEAP, 1, 2, &OsRandom).unwrap();
        let (release, wait) = std::sync::mpsc::channel::<()>();
        let work = hasher.run(0, move |_, _| wait.recv());
        let gone = tokio::time::timeout(Duration::from_millis(20), work).await;
        assert!(gone.is_err());
        assert_eq!(hasher.queue().0, 1);
        assert_eq!(hasher.slots(), (1, 1));
        release.send(()).unwrap();
        assert!(!hasher.verify(None, secret()).await.unwrap());
    }

    #[tokio::test]
    async fn a_full_queue_says_busy_and_recovers() {
        let hasher = Hasher::new(CHEAP, 1, 0, &OsRandom).unwrap();
        let full = hasher.verify(None, secret()).await;
        assert!(matches!(full, Err(Error::Busy { .. })), "{full:?}");
        assert_eq!(hasher.queue().0, 0);
    }
}
