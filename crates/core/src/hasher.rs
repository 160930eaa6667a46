//! Password hashing in a bounded number of slots, off the async threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;
use tracing::Instrument as _;

use crate::error::{Error, Result};
use crate::password::PasswordDigest;
use crate::random::Random;
use crate::verifier::{self, Cost, Secret};

/// What a caller is told to wait when the queue is full.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Computes password hashes: at most `slots` at once (each takes [`Cost::memory`] KiB), at most `queue` waiting.
#[derive(Clone)]
pub struct Hasher {
    inner: Arc<Inner>,
}

struct Inner {
    cost: Cost,
    size: usize,
    slots: Arc<Semaphore>,
    waiting: AtomicUsize,
    queue: usize,
    decoy: String,
    computed: AtomicU64,
}

impl Hasher {
    /// A hasher of `cost`. `None` if the cost is out of argon2's range.
    pub fn new(cost: Cost, slots: usize, queue: usize, random: &dyn Random) -> Option<Self> {
        // What is compared against when there is no user. That some password matches it does not matter: whoever
        // asks for a decoy never looks at the answer.
        let decoy = verifier::hash(&PasswordDigest::from_bytes(random.bits128()), &random.bits128(), cost)?;
        let inner = Inner {
            cost,
            size: slots.max(1),
            slots: Arc::new(Semaphore::new(slots.max(1))),
            waiting: AtomicUsize::new(0),
            queue,
            decoy,
            computed: AtomicU64::new(0),
        };
        Some(Self { inner: Arc::new(inner) })
    }

    /// How many hashes of today's cost were computed so far: what "the same work" is measured by.
    pub fn computed(&self) -> u64 {
        self.inner.computed.load(Ordering::Relaxed)
    }

    /// How many hashes are computed right now, of how many at once.
    pub fn slots(&self) -> (usize, usize) {
        let inner = &self.inner;
        (inner.size - inner.slots.available_permits().min(inner.size), inner.size)
    }

    /// How many hashes are computed or wait for a slot, of how many at most.
    pub fn queue(&self) -> (usize, usize) {
        (self.inner.waiting.load(Ordering::Relaxed), self.inner.queue)
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
        let cost = self.inner.cost;
        let hash = self.run(move |inner| inner.counted(|| verifier::hash(&digest, &salt, cost))).await?;
        hash.ok_or_else(|| Error::internal("argon2 refused its parameters"))
    }

    /// Whether `secret` is what `stored` was made from; with `None`, `false` after the same work.
    ///
    /// # Errors
    /// [`Error::Busy`] if the queue is full.
    pub async fn verify(&self, stored: Option<String>, secret: Secret) -> Result<bool> {
        self.run(move |inner| match stored {
            Some(stored) if verifier::is_current(&stored, inner.cost) => {
                inner.counted(|| verifier::verify(&stored, &secret))
            }
            other => {
                // No user, or a hash of another price (made elsewhere, or before the cost was raised): compute one of
                // today's as well, so that the time tells neither.
                inner.counted(|| verifier::verify(&inner.decoy, &secret));
                other.is_some_and(|cheaper| verifier::verify(&cheaper, &secret))
            }
        })
        .await
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce(&Inner) -> T + Send + 'static) -> Result<T> {
        let span = tracing::info_span!(target: crate::TRACE, "argon2id");
        self.in_turn(work).instrument(span).await
    }

    async fn in_turn<T: Send + 'static>(&self, work: impl FnOnce(&Inner) -> T + Send + 'static) -> Result<T> {
        let place = Place::take(self.inner.clone())?;
        let permit = self.inner.slots.clone().acquire_owned().await.map_err(Error::internal)?;
        // Slot and place belong to the work, not to who waits for it: a client that hangs up does not stop the hash.
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work(&place.0)
        });
        done.await.map_err(Error::internal)
    }
}

impl Inner {
    fn counted<T>(&self, work: impl FnOnce() -> T) -> T {
        self.computed.fetch_add(1, Ordering::Relaxed);
        work()
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
    async fn a_hash_of_another_price_costs_one_of_todays_as_well() {
        let dearer = Cost { passes: 4, ..CHEAP };
        let hasher = Hasher::new(dearer, 1, 8, &OsRandom).unwrap();
        let old = verifier::hash(&secret().digest(), &[1; 16], CHEAP).unwrap();
        let start = hasher.computed();
        assert!(hasher.verify(Some(old), secret()).await.unwrap());
        assert_eq!(hasher.computed() - start, 1);
    }

    #[tokio::test]
    async fn a_caller_who_goes_away_keeps_the_slot_until_the_work_is_done() {
        let hasher = Hasher::new(CHEAP, 1, 2, &OsRandom).unwrap();
        let (release, wait) = std::sync::mpsc::channel::<()>();
        let work = hasher.run(move |_| wait.recv());
        let gone = tokio::time::timeout(Duration::from_millis(20), work).await;
        assert!(gone.is_err());
        assert_eq!(hasher.inner.waiting.load(Ordering::Relaxed), 1);
        assert_eq!(hasher.inner.slots.available_permits(), 0);
        release.send(()).unwrap();
        assert!(!hasher.verify(None, secret()).await.unwrap());
    }

    #[tokio::test]
    async fn a_full_queue_says_busy_and_recovers() {
        let hasher = Hasher::new(CHEAP, 1, 0, &OsRandom).unwrap();
        let full = hasher.verify(None, secret()).await;
        assert!(matches!(full, Err(Error::Busy { .. })), "{full:?}");
        assert_eq!(hasher.inner.waiting.load(Ordering::Relaxed), 0);
    }
}
