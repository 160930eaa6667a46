//! Migration of imported password hashes: wraps in argon2id the hashes that an earlier version stored unwrapped. It
//! runs beside the services, in small transactions, and an interrupted run can be repeated.

use super::reseal::throttle;
use crate::hasher::Hasher;
use crate::ports::{UnwrappedHash, VerifierStore};
use crate::random::Random;
use crate::time::Clock;
use crate::verifier::{self, ImportedHash};
use crate::{Error, Result};

/// The store, hasher, clock, randomness and concurrency of a wrapping run.
pub struct WrapJob<'a> {
    /// The store of the verifiers.
    pub verifiers: &'a dyn VerifierStore,
    /// The hasher.
    pub hasher: &'a Hasher,
    /// The source of randomness.
    pub random: &'a dyn Random,
    /// The clock.
    pub clock: &'a dyn Clock,
    /// How many hashes to compute at once and how many rows to change in one transaction: 1 to 256.
    pub concurrency: u32,
}

/// The result of a wrapping run.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct WrapReport {
    /// The number of rows whose verifier was replaced by argon2id.
    pub rows: u64,
    /// The number of rows whose verifier cannot be read and so matches no password. These rows are unchanged.
    pub unreadable: u64,
}

/// Wraps every unwrapped imported hash, in batches whose sizes are passed to `progress`. A row that another
/// process changes meanwhile is left as it is.
///
/// # Errors
/// `Unavailable`, `Internal`. Batches completed before an error are kept.
pub async fn wrap_hashes(job: &WrapJob<'_>, progress: &mut (dyn FnMut(u64) + Send)) -> Result<WrapReport> {
    let (mut report, mut after) = (WrapReport::default(), 0);
    loop {
        let page = job.verifiers.list_unwrapped(after, job.concurrency).await?;
        let Some(last) = page.last() else { return Ok(report) };
        after = last.number;
        let page_rows = page.len() as u64;
        let changes = compute_replacements(job, page).await?;
        report.unreadable += page_rows - changes.len() as u64;
        let batch_start = job.clock.now();
        report.rows += job.verifiers.replace_verifiers(&changes).await?;
        progress(page_rows);
        throttle(job.clock, batch_start).await;
    }
}

/// Computes the new verifier for each row of `page` that can be read.
async fn compute_replacements(job: &WrapJob<'_>, page: Vec<UnwrappedHash>) -> Result<Vec<(UnwrappedHash, String)>> {
    let mut tasks = tokio::task::JoinSet::new();
    for row in page {
        let (hasher, salt) = (job.hasher.clone(), job.random.bits128());
        tasks.spawn(async move { Ok((compute_replacement(&hasher, salt, &row.verifier).await?, row)) });
    }
    let mut changes = Vec::new();
    while let Some(hashed) = tasks.join_next().await {
        if let (Some(new), row) = hashed.map_err(Error::internal)?? {
            changes.push((row, new));
        }
    }
    Ok(changes)
}

/// Computes the verifier that replaces `stored`; `None` if `stored` cannot be read. Retries while the hasher is busy,
/// so that logins come first.
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
