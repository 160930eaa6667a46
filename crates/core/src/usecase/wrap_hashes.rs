//! Wrapping, in argon2id, the imported hashes that earlier builds stored as they came: beside the services, in small
//! steps, each of which counts by itself, so that it may be stopped anywhere and gone on with.

use super::reseal::throttle;
use crate::hasher::Hasher;
use crate::ports::{UnwrappedHash, VerifierStore};
use crate::random::Random;
use crate::time::Clock;
use crate::verifier::{self, ImportedHash};
use crate::{Error, Result};

/// What wrapping works with.
pub struct WrapJob<'a> {
    /// Where the rows are.
    pub verifiers: &'a dyn VerifierStore,
    /// Computes the hashes.
    pub hasher: &'a Hasher,
    /// Chance.
    pub random: &'a dyn Random,
    /// The time.
    pub clock: &'a dyn Clock,
    /// How many hashes are computed at once, and rows changed in one step: 1 to 256.
    pub concurrency: u32,
}

/// What was done.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct WrapReport {
    /// Rows that hold argon2id now.
    pub rows: u64,
    /// Rows that cannot be read, and so match no password. They are as they were.
    pub unreadable: u64,
}

/// Wraps every imported hash that earlier builds stored as it came, reporting to `progress` of each step how many rows it
/// saw. A row that someone else changes meanwhile is left as they made it.
///
/// # Errors
/// Faults of ours. What was done so far is kept.
pub async fn wrap_hashes(work: &WrapJob<'_>, progress: &mut (dyn FnMut(u64) + Send)) -> Result<WrapReport> {
    let (mut done, mut after) = (WrapReport::default(), 0);
    loop {
        let page = work.verifiers.list_unwrapped(after, work.concurrency).await?;
        let Some(last) = page.last() else { return Ok(done) };
        after = last.number;
        let seen = page.len() as u64;
        let changes = compute_replacements(work, page).await?;
        done.unreadable += seen - changes.len() as u64;
        let begun = work.clock.now();
        done.rows += work.verifiers.replace_verifiers(&changes).await?;
        progress(seen);
        throttle(work.clock, begun).await;
    }
}

/// What each of `page` that can be read is to be replaced by.
async fn compute_replacements(work: &WrapJob<'_>, page: Vec<UnwrappedHash>) -> Result<Vec<(UnwrappedHash, String)>> {
    let mut hashing = tokio::task::JoinSet::new();
    for row in page {
        let (hasher, salt) = (work.hasher.clone(), work.random.bits128());
        hashing.spawn(async move { Ok((compute_replacement(&hasher, salt, &row.verifier).await?, row)) });
    }
    let mut changes = Vec::new();
    while let Some(hashed) = hashing.join_next().await {
        if let (Some(new), row) = hashed.map_err(Error::internal)?? {
            changes.push((row, new));
        }
    }
    Ok(changes)
}

/// Waits while the hasher is busy: logins come first.
async fn compute_replacement(hasher: &Hasher, salt: [u8; 16], stored: &str) -> Result<Option<String>> {
    loop {
        let hashed = match verifier::parse_unwrapped(stored) {
            None => return Ok(None),
            Some(ImportedHash::Strong(verifier)) => return Ok(Some(verifier)),
            Some(ImportedHash::Digest(digest)) => hasher.hash(digest, salt).await,
            Some(ImportedHash::Weak(weak)) => hasher.wrap(weak, salt).await,
        };
        match hashed {
            Err(Error::Busy { retry_after }) => tokio::time::sleep(retry_after).await,
            other => return other.map(Some),
        }
    }
}
