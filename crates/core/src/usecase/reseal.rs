//! Key rotation: decrypts the rows that are sealed under older keys and seals them again under the active key. It runs
//! beside the services, in small transactions, and an interrupted run can be repeated.

use std::collections::BTreeSet;
use std::time::Duration;

use super::credential::seal_context;
use crate::app::App;
use crate::ports::{KeyStore, KeyUsage, ResealedUser, SealedUser};
use crate::random::Random;
use crate::seal::{KeyId, OpenError, SealedSecret, Sealer};
use crate::time::{Clock, Timestamp};
use crate::{Error, Result};

/// How many rows one transaction changes. Other writers may have to wait for the transaction.
const BATCH_SIZE: u32 = 50;
/// How many passes to make at most. A later pass finds rows that were sealed under an older key meanwhile.
const MAX_PASSES: usize = 3;

/// The keys, store, clock and randomness of a resealing run.
pub struct ResealJob<'a> {
    /// The sealing keys, including the older ones.
    pub sealer: &'a Sealer,
    /// The store of the sealed rows.
    pub keys: &'a dyn KeyStore,
    /// The source of randomness.
    pub random: &'a dyn Random,
    /// The clock.
    pub clock: &'a dyn Clock,
}

/// The result of a resealing run.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ResealReport {
    /// The number of rows that were resealed.
    pub rows: u64,
    /// Users and apps whose rows cannot be decrypted with their key: damaged, or moved from another row or database.
    /// These rows are unchanged.
    pub unreadable: BTreeSet<String>,
}

/// How many rows are sealed under keys older than the active one.
///
/// # Errors
/// `Unavailable`, `Internal`.
pub async fn count_pending(job: &ResealJob<'_>) -> Result<u64> {
    let current = job.sealer.current_key_id(job.clock.now());
    let usages = job.keys.count_rows_by_key().await?;
    Ok(usages.iter().filter(|usage| usage.key < current).map(|usage| usage.users + usage.apps).sum())
}

/// Reseals the rows of older keys, in batches whose sizes are passed to `progress`. A row that another process changes
/// meanwhile is not resealed in this pass.
///
/// # Errors
/// `Internal` if an older key is missing; `Unavailable`, `Internal`. Batches completed before an error are kept.
pub async fn reseal(job: &ResealJob<'_>, progress: &mut (dyn FnMut(u64) + Send)) -> Result<ResealReport> {
    let mut report = ResealReport::default();
    for _ in 0..MAX_PASSES {
        let rows_before = report.rows;
        let current = job.sealer.current_key_id(job.clock.now());
        for KeyUsage { key, .. } in job.keys.count_rows_by_key().await?.into_iter().filter(|usage| usage.key < current)
        {
            reseal_users(job, key, &mut report, progress).await?;
            reseal_apps(job, key, &mut report, progress).await?;
        }
        if report.rows == rows_before {
            break;
        }
    }
    Ok(report)
}

async fn reseal_users(
    job: &ResealJob<'_>,
    key: KeyId,
    report: &mut ResealReport,
    progress: &mut (dyn FnMut(u64) + Send),
) -> Result<()> {
    let mut after = 0;
    loop {
        let batch_start = job.clock.now();
        let page = job.keys.sealed_users(key, after, BATCH_SIZE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last.number;
        let mut changes = Vec::with_capacity(page.len());
        for SealedUser { id, sealed, .. } in &page {
            match reseal_secret(job, &seal_context(*id), sealed)? {
                Some(new) => changes.push(ResealedUser { id: *id, old: sealed.clone(), new }),
                None => drop(report.unreadable.insert(format!("user {id}"))),
            }
        }
        report.rows += job.keys.reseal_users(&changes).await?;
        progress(page.len() as u64);
        throttle(job.clock, batch_start).await;
    }
}

async fn reseal_apps(
    job: &ResealJob<'_>,
    key: KeyId,
    report: &mut ResealReport,
    progress: &mut (dyn FnMut(u64) + Send),
) -> Result<()> {
    for App { name, secret, .. } in job.keys.sealed_apps(key).await? {
        match reseal_secret(job, &App::seal_context(&name), &secret)? {
            Some(new) => report.rows += u64::from(job.keys.reseal_app(&name, &secret, &new).await?),
            None => drop(report.unreadable.insert(format!("app {name}"))),
        }
        progress(1);
    }
    Ok(())
}

/// Seals the secret again under the active key; `None` if its key cannot decrypt it.
///
/// # Errors
/// `Internal` if its key is missing.
fn reseal_secret(job: &ResealJob<'_>, context: &[u8], sealed: &SealedSecret) -> Result<Option<SealedSecret>> {
    match job.sealer.open(context, sealed) {
        Ok(secret) => Ok(Some(job.sealer.seal(job.clock.now(), context, &secret, job.random))),
        Err(OpenError::WrongKey(_)) => Ok(None),
        Err(missing @ OpenError::MissingKey(_)) => Err(Error::internal(missing)),
    }
}

/// Pauses for as long as the batch took, 250 ms at most, so that other writers can use the database.
pub(super) async fn throttle(clock: &dyn Clock, batch_start: Timestamp) {
    tokio::time::sleep(clock.now().saturating_duration_since(batch_start).min(Duration::from_millis(250))).await;
}

/// Whether the key decrypts the rows sealed under it, judged by some of them; `true` if there are none.
///
/// # Errors
/// `Unavailable`, `Internal`.
pub async fn can_decrypt_sealed_rows(keys: &dyn KeyStore, sealer: &Sealer, key: KeyId) -> Result<bool> {
    let users = keys.sealed_users(key, 0, BATCH_SIZE).await?;
    let apps = keys.sealed_apps(key).await?;
    let can_open_user = |row: &SealedUser| sealer.open(&seal_context(row.id), &row.sealed).is_ok();
    let can_open_app = |row: &App| sealer.open(&App::seal_context(&row.name), &row.secret).is_ok();
    // One row that can be decrypted proves the key; other rows may be damaged.
    Ok((users.is_empty() && apps.is_empty()) || users.iter().any(can_open_user) || apps.iter().any(can_open_app))
}
