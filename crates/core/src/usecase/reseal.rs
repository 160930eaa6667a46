//! Sealing anew, under the newest key, what is sealed under older ones: beside the services, in small steps, each of
//! which counts by itself, so that it may be stopped anywhere and gone on with.

use std::collections::BTreeSet;
use std::time::Duration;

use super::credential::seal_context;
use crate::app::App;
use crate::ports::{KeyStore, KeyUsage, ResealedUser, SealedUser};
use crate::random::Random;
use crate::seal::{KeyId, OpenError, SealedSecret, Sealer};
use crate::time::{Clock, Timestamp};
use crate::{Error, Result};

/// How many rows are changed in one step, during which others may have to wait to write.
const BATCH_SIZE: u32 = 50;
/// How often it is looked for rows that were sealed under an older key meanwhile.
const MAX_PASSES: usize = 3;

/// What sealing anew works with.
pub struct ResealJob<'a> {
    /// The keys, the old ones too.
    pub sealer: &'a Sealer,
    /// Where the rows are.
    pub keys: &'a dyn KeyStore,
    /// Chance.
    pub random: &'a dyn Random,
    /// The time.
    pub clock: &'a dyn Clock,
}

/// What was done.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ResealReport {
    /// Rows that are sealed under the newest key now.
    pub rows: u64,
    /// Users and apps whose rows their key does not open: damaged, or moved from elsewhere. They are as they were.
    pub unreadable: BTreeSet<String>,
}

/// How many rows are sealed under older keys than the one that seals.
///
/// # Errors
/// Faults of ours.
pub async fn count_pending(work: &ResealJob<'_>) -> Result<u64> {
    let current = work.sealer.current_key_id(work.clock.now());
    let usages = work.keys.count_rows_by_key().await?;
    Ok(usages.iter().filter(|usage| usage.key < current).map(|usage| usage.users + usage.apps).sum())
}

/// Seals anew what is sealed under older keys, telling `progress` of each step how many rows it saw. A row that
/// someone else changes meanwhile is left as they made it.
///
/// # Errors
/// An old key is missing; faults of ours. What was done so far is kept.
pub async fn reseal(work: &ResealJob<'_>, progress: &mut (dyn FnMut(u64) + Send)) -> Result<ResealReport> {
    let mut done = ResealReport::default();
    for _ in 0..MAX_PASSES {
        let before = done.rows;
        let current = work.sealer.current_key_id(work.clock.now());
        for KeyUsage { key, .. } in work.keys.count_rows_by_key().await?.into_iter().filter(|usage| usage.key < current)
        {
            reseal_users(work, key, &mut done, progress).await?;
            reseal_apps(work, key, &mut done, progress).await?;
        }
        if done.rows == before {
            break;
        }
    }
    Ok(done)
}

async fn reseal_users(
    work: &ResealJob<'_>,
    key: KeyId,
    done: &mut ResealReport,
    progress: &mut (dyn FnMut(u64) + Send),
) -> Result<()> {
    let mut after = 0;
    loop {
        let begun = work.clock.now();
        let page = work.keys.sealed_users(key, after, BATCH_SIZE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last.number;
        let mut changes = Vec::with_capacity(page.len());
        for SealedUser { id, sealed, .. } in &page {
            match reseal_secret(work, &seal_context(*id), sealed)? {
                Some(new) => changes.push(ResealedUser { id: *id, old: sealed.clone(), new }),
                None => drop(done.unreadable.insert(format!("user {id}"))),
            }
        }
        done.rows += work.keys.reseal_users(&changes).await?;
        progress(page.len() as u64);
        throttle(work.clock, begun).await;
    }
}

async fn reseal_apps(
    work: &ResealJob<'_>,
    key: KeyId,
    done: &mut ResealReport,
    progress: &mut (dyn FnMut(u64) + Send),
) -> Result<()> {
    for App { name, secret, .. } in work.keys.sealed_apps(key).await? {
        match reseal_secret(work, &App::seal_context(&name), &secret)? {
            Some(new) => done.rows += u64::from(work.keys.reseal_app(&name, &secret, &new).await?),
            None => drop(done.unreadable.insert(format!("app {name}"))),
        }
        progress(1);
    }
    Ok(())
}

/// The same secret under the key that seals now; `None` if it cannot be opened.
fn reseal_secret(work: &ResealJob<'_>, context: &[u8], sealed: &SealedSecret) -> Result<Option<SealedSecret>> {
    match work.sealer.open(context, sealed) {
        Ok(secret) => Ok(Some(work.sealer.seal(work.clock.now(), context, &secret, work.random))),
        Err(OpenError::WrongKey(_)) => Ok(None),
        Err(missing @ OpenError::MissingKey(_)) => Err(Error::internal(missing)),
    }
}

/// Leaves the database to others for as long as a step took.
pub(super) async fn throttle(clock: &dyn Clock, begun: Timestamp) {
    tokio::time::sleep(clock.now().saturating_duration_since(begun).min(Duration::from_millis(250))).await;
}

/// Whether the key opens what is sealed under it, as far as some rows tell; `true` if there are none.
///
/// # Errors
/// Faults of ours.
pub async fn opens_sealed_rows(keys: &dyn KeyStore, sealer: &Sealer, key: KeyId) -> Result<bool> {
    let users = keys.sealed_users(key, 0, BATCH_SIZE).await?;
    let apps = keys.sealed_apps(key).await?;
    let user = |row: &SealedUser| sealer.open(&seal_context(row.id), &row.sealed).is_ok();
    let app = |row: &App| sealer.open(&App::seal_context(&row.name), &row.secret).is_ok();
    // One that opens is enough: another may be damaged.
    Ok((users.is_empty() && apps.is_empty()) || users.iter().any(user) || apps.iter().any(app))
}
