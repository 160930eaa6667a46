//! Password hashing in a bounded number of slots, off the async threads.
//!
//! A slot has the memory of one hash of today's cost. One that needs more (imported, or made before the cost was
//! lowered) takes as many slots as make up its memory, or all of them: so the memory is bounded by the slots', or by
//! the one hash's that alone needs more. It is kept from one hash to the next until [`Hasher::trim`] finds it unused.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tracing::Instrument as _;

use crate::error::{Error, Result};
use crate::password::PasswordDigest;
use crate::random::Random;
use crate::verifier::{self, Cost, Memory, Secret};

/// What a caller is told to wait when the queue is full.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Computes password hashes: at most `slots` at once (each takes [`Cost::memory`] KiB), at most `queue` waiting.
#[derive(Clone)]
pub struct Hasher {
    inner: Arc<Inner>,
}

struct Inner {
    cost: Cost,
    size: u32,
    slots: Arc<Semaphore>,
    waiting: AtomicUsize,
    queue: usize,
    decoy: Decoy,
    computed: AtomicU64,
    kept: Mutex<Vec<Kept>>,
}

/// Memory that no hash works in right now; and whether one has since it was last looked for unused memory.
struct Kept {
    memory: Memory,
    used: bool,
}

/// What is hashed where there is nothing to verify, or less than for others.
struct Decoy {
    digest: PasswordDigest,
    salt: [u8; 16],
}

impl Hasher {
    /// A hasher of `cost`. `None` if the cost is out of argon2's range.
    pub fn new(cost: Cost, slots: u32, queue: usize, random: &dyn Random) -> Option<Self> {
        let decoy = Decoy { digest: PasswordDigest::from_bytes(random.bits128()), salt: random.bits128() };
        // Tried once, so that nothing fails later.
        verifier::hash(&decoy.digest, &decoy.salt, cost, &mut Memory::default())?;
        let size = slots.max(1);
        let slots = Arc::new(Semaphore::new(usize::try_from(size).ok()?));
        let (waiting, computed, kept) = (AtomicUsize::new(0), AtomicU64::new(0), Mutex::default());
        Some(Self { inner: Arc::new(Inner { cost, size, slots, waiting, queue, decoy, computed, kept }) })
    }

    /// How many times the work of a hash of today's cost was done so far: what "the same work" is measured by.
    pub fn computed(&self) -> u64 {
        self.inner.computed.load(Ordering::Relaxed)
    }

    /// How many slots are taken right now, of how many.
    pub fn slots(&self) -> (usize, usize) {
        let inner = &self.inner;
        let size = usize::try_from(inner.size).unwrap_or(usize::MAX);
        (size - inner.slots.available_permits().min(size), size)
    }

    /// How many hashes are computed or wait for a slot, of how many at most.
    pub fn queue(&self) -> (usize, usize) {
        (self.inner.waiting.load(Ordering::Relaxed), self.inner.queue)
    }

    /// Gives back to the system the memory that no hash has worked in since the last time: to be called now and then.
    pub fn trim(&self) {
        let mut kept = self.inner.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain_mut(|kept| std::mem::take(&mut kept.used));
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

    async fn hash_at(&self, cost: Cost, digest: PasswordDigest, salt: [u8; 16]) -> Result<String> {
        let hash = self.run(cost.memory, move |inner| inner.work(|memory| verifier::hash(&digest, &salt, cost, memory)));
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
        self.run(size, move |inner| inner.work(|memory| work(inner, memory))).await
    }

    async fn run<T: Send + 'static>(&self, memory: u32, work: impl FnOnce(&Inner) -> T + Send + 'static) -> Result<T> {
        let span = tracing::info_span!(target: crate::TRACE, "argon2id");
        self.in_turn(memory, work).instrument(span).await
    }

    async fn in_turn<T: Send + 'static>(
        &self,
        memory: u32,
        work: impl FnOnce(&Inner) -> T + Send + 'static,
    ) -> Result<T> {
        let place = Place::take(self.inner.clone())?;
        let slots = self.inner.slots.clone().acquire_many_owned(self.inner.slots_for(memory));
        let permit = slots.await.map_err(Error::internal)?;
        // Slots and place belong to the work, not to who waits for it: a client that hangs up does not stop the hash.
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work(&place.0)
        });
        done.await.map_err(Error::internal)
    }
}

impl Inner {
    /// Does and counts the work of a hash, in memory that is there if there is any.
    fn work<T>(&self, work: impl FnOnce(&mut Memory) -> T) -> T {
        self.computed.fetch_add(1, Ordering::Relaxed);
        let kept = || self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mut memory = kept().pop().map(|kept| kept.memory).unwrap_or_default();
        let done = work(&mut memory);
        // A larger one's memory is not a slot's.
        if memory.size() <= usize::try_from(self.cost.memory).unwrap_or(usize::MAX) {
            kept().push(Kept { memory, used: true });
        }
        done
    }

    /// Does what is left of the work of a hash of today's cost, when `done` KiB were written.
    fn make_up(&self, done: u64, memory: &mut Memory) {
        if let Some(rest) = self.cost.rest(done) {
            std::hint::black_box(verifier::hash(&self.decoy.digest, &self.decoy.salt, rest, memory));
        }
    }

    /// How many slots have `memory` KiB.
    fn slots_for(&self, memory: u32) -> u32 {
        memory.div_ceil(self.cost.memory.max(1)).clamp(1, self.size)
    }
}

/// A place in the queue or in a slot, given back when dropped.
struct Place(Arc<Inner>);

impl Place {
    fn take(inner: Arc<Inner>) -> Result<Self> {
        let place = Self(inner);
        let before = place.0.waiting.fetch_add(1, Ordering::Relaxed);
        if before >= place.0.queue { Err(Error::Busy { retry_after: RETRY_AFTER }) } else { Ok(place) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
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
    async fn a_hash_takes_the_slots_that_have_its_memory() {
        let hasher = Hasher::new(CHEAP, 4, 8, &OsRandom).unwrap();
        for (memory, slots) in [(0, 1), (64, 1), (65, 2), (256, 4), (u32::MAX, 4)] {
            assert_eq!(hasher.inner.slots_for(memory), slots, "{memory}");
        }
        let (release, wait) = std::sync::mpsc::channel::<()>();
        let mut one = std::pin::pin!(hasher.run(0, move |_| wait.recv()));
        let large = Cost { memory: 256, ..CHEAP };
        let large = verifier::hash(&secret().digest(), &[1; 16], large, &mut Memory::default()).unwrap();
        let mut all = std::pin::pin!(hasher.verify(Some(large), secret()));
        let mut next = std::pin::pin!(hasher.verify(None, secret()));
        let polled = std::future::poll_fn(|context| {
            let pending = [one.as_mut().poll(context).is_pending(), all.as_mut().poll(context).is_pending()];
            std::task::Poll::Ready((pending, next.as_mut().poll(context).is_pending()))
        });
        assert_eq!(polled.await, ([true, true], true));
        // The large one waits for the only slot that is taken, and whoever comes later waits behind it.
        assert_eq!((hasher.slots(), hasher.queue().0), ((4, 4), 3));
        release.send(()).unwrap();
        let (one, all, next) = tokio::join!(one, all, next);
        assert!(one.unwrap().is_ok() && all.unwrap() && !next.unwrap());
        assert_eq!((hasher.slots(), hasher.queue().0), ((0, 4), 0));
    }

    #[tokio::test]
    async fn a_caller_who_goes_away_keeps_the_slot_until_the_work_is_done() {
        let hasher = Hasher::new(CHEAP, 1, 2, &OsRandom).unwrap();
        let (release, wait) = std::sync::mpsc::channel::<()>();
        let work = hasher.run(0, move |_| wait.recv());
        let gone = tokio::time::timeout(Duration::from_millis(20), work).await;
        assert!(gone.is_err());
        assert_eq!(hasher.inner.waiting.load(Ordering::Relaxed), 1);
        assert_eq!(hasher.inner.slots.available_permits(), 0);
        release.send(()).unwrap();
        assert!(!hasher.verify(None, secret()).await.unwrap());
    }

    #[tokio::test]
    async fn memory_is_kept_while_it_is_used_and_no_more_than_a_slots() {
        let hasher = Hasher::new(CHEAP, 2, 8, &OsRandom).unwrap();
        let kept = || hasher.inner.kept.lock().unwrap().iter().map(|kept| kept.memory.size()).collect::<Vec<_>>();
        assert!(kept().is_empty());
        for _ in 0..3 {
            hasher.hash(secret().digest(), [1; 16]).await.unwrap();
            assert_eq!(kept(), [64]);
        }
        hasher.trim();
        assert_eq!(kept(), [64], "used since the last time");
        hasher.trim();
        assert!(kept().is_empty());
        let large = Cost { memory: 256, ..CHEAP };
        let large = verifier::hash(&secret().digest(), &[1; 16], large, &mut Memory::default()).unwrap();
        assert!(hasher.verify(Some(large), secret()).await.unwrap());
        assert!(kept().is_empty());
    }

    #[tokio::test]
    async fn a_full_queue_says_busy_and_recovers() {
        let hasher = Hasher::new(CHEAP, 1, 0, &OsRandom).unwrap();
        let full = hasher.verify(None, secret()).await;
        assert!(matches!(full, Err(Error::Busy { .. })), "{full:?}");
        assert_eq!(hasher.inner.waiting.load(Ordering::Relaxed), 0);
    }
}
