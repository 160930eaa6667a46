//! Background hashing after an import: computes argon2id over the hashes that wait for it, while no login does.
//!
//! Every instance takes part. Each starts at a user of its own, chosen at random, so that two rarely compute the same
//! hash; if they do, the second result is dropped.

use std::time::{Duration, Instant};

use super::credential::seal_context;
use crate::hasher::Hasher;
use crate::ports::{ImportStore, PendingUser};
use crate::random::Random;
use crate::seal::Sealer;
use crate::verifier::{ImportedHash, PendingHash};
use crate::{Error, Result};

/// How many users are read at once.
const PAGE_SIZE: u32 = 100;
/// How long to wait while logins use the hasher.
const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// How long to pause after a hash that took longer than the fastest one, in multiples of the difference. A hash that a
/// busy machine slows down to half the speed is followed by a pause of four hashes.
const PAUSE_FACTOR: u32 = 4;
/// The longest pause after a hash, in multiples of the fastest one.
const MAX_PAUSE_FACTOR: u32 = 20;

/// Leaves the processors to logins, of this instance and of others on the same machine. A hash always costs the same
/// work, so one that takes longer shows that the processors are busy.
#[derive(Default)]
struct Pace {
    fastest: Option<Duration>,
}

impl Pace {
    /// How long to pause after a hash that took `elapsed`.
    fn pause_after(&mut self, elapsed: Duration) -> Duration {
        let fastest = self.fastest.map_or(elapsed, |fastest| fastest.min(elapsed));
        self.fastest = Some(fastest);
        ((elapsed - fastest) * PAUSE_FACTOR).min(fastest * MAX_PAUSE_FACTOR)
    }
}

/// The store, keys and hasher of background hashing.
pub struct HashJob<'a> {
    /// The store of the users.
    pub store: &'a dyn ImportStore,
    /// The keys that the hashes are sealed under.
    pub sealer: &'a Sealer,
    /// The hasher.
    pub hasher: &'a Hasher,
    /// The source of randomness.
    pub random: &'a dyn Random,
}

/// The result of background hashing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HashReport {
    /// Users whose verifier is now argon2id.
    pub rows: u64,
    /// Users whose sealed hash cannot be read: the key is missing, or the row is damaged. They are unchanged.
    pub unreadable: u64,
}

/// Computes argon2id for every hash that waits.
///
/// # Errors
/// `Unavailable`, `Internal`. Hashes completed before an error are kept.
pub async fn hash_pending(job: &HashJob<'_>) -> Result<HashReport> {
    let highest = job.store.highest_user_number().await?;
    let start = i64::try_from(job.random.uniform_below(u64::try_from(highest).unwrap_or(0) + 1)).unwrap_or(0);
    let (mut report, mut pace) = (HashReport::default(), Pace::default());
    // From the start to the end, then from the beginning to the start.
    for (mut from, end) in [(start, i64::MAX), (0, start)] {
        while from < end {
            let page = job.store.list_pending_hashes(from, PAGE_SIZE).await?;
            let Some(last) = page.last() else { break };
            from = last.number + 1;
            for user in page.iter().filter(|user| user.number < end) {
                match hash_one(job, user, &mut pace).await? {
                    Some(replaced) => report.rows += u64::from(replaced),
                    None => report.unreadable += 1,
                }
            }
        }
    }
    Ok(report)
}

/// Replaces the verifier of one user. Returns whether it was replaced; `None` if the sealed hash cannot be read.
async fn hash_one(job: &HashJob<'_>, user: &PendingUser, pace: &mut Pace) -> Result<Option<bool>> {
    loop {
        // Logins come first.
        if job.hasher.queue_usage().used > 0 {
            tokio::time::sleep(BUSY_PAUSE).await;
            continue;
        }
        let Some(hash) = open(job, user) else { return Ok(None) };
        let (salt, start) = (job.random.bits128(), Instant::now());
        let hashed = match hash {
            ImportedHash::Digest(digest) => job.hasher.hash(digest, salt).await,
            ImportedHash::Weak(weak) => job.hasher.wrap(weak, salt).await,
            ImportedHash::Strong(verifier) => {
                return job.store.replace_pending_hash(user, &verifier).await.map(Some);
            }
        };
        match hashed {
            Err(Error::Busy { retry_after }) => tokio::time::sleep(retry_after).await,
            Err(error) => return Err(error),
            Ok(verifier) => {
                let pause = pace.pause_after(start.elapsed());
                let replaced = job.store.replace_pending_hash(user, &verifier).await?;
                tokio::time::sleep(pause).await;
                return Ok(Some(replaced));
            }
        }
    }
}

fn open(job: &HashJob<'_>, user: &PendingUser) -> Option<ImportedHash> {
    let secret = job.sealer.open(&seal_context(user.id), user.credential.sealed.as_ref()?).ok()?;
    PendingHash::from_stored(&user.credential.verifier, secret).map(PendingHash::into_imported)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashing_pauses_while_the_processors_are_busy() {
        let ms = Duration::from_millis;
        let mut pace = Pace::default();
        let pauses = [30, 20, 20, 25, 40, 5_000, 20].map(|elapsed| pace.pause_after(ms(elapsed)));
        assert_eq!(pauses, [0, 0, 0, 20, 80, 400, 0].map(ms));
    }
}
