//! Password hashing in a bounded number of slots, off the async threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;

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
    slots: Semaphore,
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
            slots: Semaphore::new(slots.max(1)),
            waiting: AtomicUsize::new(0),
            queue,
            decoy,
            computed: AtomicU64::new(0),
        };
        Some(Self { inner: Arc::new(inner) })
    }

    /// How many hashes were computed so far: what "the same work" is measured by.
    pub fn computed(&self) -> u64 {
        self.inner.computed.load(Ordering::Relaxed)
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
        let hash = self.run(move |_| verifier::hash(&digest, &salt, cost)).await?;
        hash.ok_or_else(|| Error::internal("argon2 refused its parameters"))
    }

    /// Whether `secret` is what `stored` was made from; with `None`, `false` after the same work.
    ///
    /// # Errors
    /// [`Error::Busy`] if the queue is full.
    pub async fn verify(&self, stored: Option<String>, secret: Secret) -> Result<bool> {
        self.run(move |inner| match stored {
            Some(stored) if !verifier::is_foreign(&stored) => verifier::verify(&stored, &secret),
            other => {
                // No user, or a hash of another price: compute one of ours as well, so that the time tells neither.
                verifier::verify(&inner.decoy, &secret);
                other.is_some_and(|foreign| verifier::verify(&foreign, &secret))
            }
        })
        .await
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce(&Inner) -> T + Send + 'static) -> Result<T> {
        let _place = Place::take(&self.inner)?;
        let permit = self.inner.slots.acquire().await.map_err(Error::internal)?;
        let inner = self.inner.clone();
        let done = tokio::task::spawn_blocking(move || {
            inner.computed.fetch_add(1, Ordering::Relaxed);
            work(&inner)
        })
        .await;
        drop(permit);
        done.map_err(Error::internal)
    }
}

/// A place in the queue or in a slot, given back when dropped.
struct Place<'a>(&'a Inner);

impl<'a> Place<'a> {
    fn take(inner: &'a Inner) -> Result<Self> {
        let place = Self(inner);
        let before = inner.waiting.fetch_add(1, Ordering::Relaxed);
        if before >= inner.queue { Err(Error::Busy { retry_after: RETRY_AFTER }) } else { Ok(place) }
    }
}

impl Drop for Place<'_> {
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
    async fn a_full_queue_says_busy_and_recovers() {
        let hasher = Hasher::new(CHEAP, 1, 0, &OsRandom).unwrap();
        let full = hasher.verify(None, secret()).await;
        assert!(matches!(full, Err(Error::Busy { .. })), "{full:?}");
        assert_eq!(hasher.inner.waiting.load(Ordering::Relaxed), 0);
    }
}
