//! Background hashing after an import: computes argon2id over the hashes that wait for it, while no login does.
//!
//! Every instance takes part. Each starts at a user of its own, chosen at random, so that two rarely compute the same
//! hash; if they do, the second result is dropped.

use std::time::Duration;

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
    let mut report = HashReport::default();
    // From the start to the end, then from the beginning to the start.
    for (mut from, end) in [(start, i64::MAX), (0, start)] {
        while from < end {
            let page = job.store.list_pending_hashes(from, PAGE_SIZE).await?;
            let Some(last) = page.last() else { break };
            from = last.number + 1;
            for user in page.iter().filter(|user| user.number < end) {
                match hash_one(job, user).await? {
                    Some(replaced) => report.rows += u64::from(replaced),
                    None => report.unreadable += 1,
                }
            }
        }
    }
    Ok(report)
}

/// Replaces the verifier of one user. Returns whether it was replaced; `None` if the sealed hash cannot be read.
async fn hash_one(job: &HashJob<'_>, user: &PendingUser) -> Result<Option<bool>> {
    loop {
        // Logins come first.
        if job.hasher.queue_usage().used > 0 {
            tokio::time::sleep(BUSY_PAUSE).await;
            continue;
        }
        let Some(hash) = open(job, user) else { return Ok(None) };
        let salt = job.random.bits128();
        let hashed = match hash {
            ImportedHash::Digest(digest) => job.hasher.hash(digest, salt).await,
            ImportedHash::Weak(weak) => job.hasher.wrap(weak, salt).await,
            ImportedHash::Strong(verifier) => Ok(verifier),
        };
        match hashed {
            Err(Error::Busy { retry_after }) => tokio::time::sleep(retry_after).await,
            Err(error) => return Err(error),
            Ok(verifier) => return job.store.replace_pending_hash(user, &verifier).await.map(Some),
        }
    }
}

fn open(job: &HashJob<'_>, user: &PendingUser) -> Option<ImportedHash> {
    let secret = job.sealer.open(&seal_context(user.id), user.credential.sealed.as_ref()?).ok()?;
    PendingHash::from_stored(&user.credential.verifier, secret).map(PendingHash::into_imported)
}
