//! Takes an import back.

use crate::import::SourceName;
use crate::ports::{ImportRun, ImportStore, SourceLock, UndoneRows};
use crate::time::Clock;
use crate::{Error, Result};

/// How many rows one transaction takes back.
const UNDO_BATCH_SIZE: u32 = 500;

/// Reserves a source for this process.
pub(super) async fn lock_source(store: &dyn ImportStore, source: &SourceName) -> Result<SourceLock> {
    let busy = || format!("another process imports from {source} or takes an import back; wait for it, or stop it");
    store.lock_source(source).await?.ok_or_else(|| Error::unavailable(busy()))
}

/// Takes a run back, in batches that are passed to `progress`: removes the users that it added and who have not changed
/// since, and the old ids of its rows.
///
/// # Errors
/// `Unavailable` also if another process imports from this source; `Internal`. Batches completed before an error are
/// kept; the run can be undone again.
pub async fn undo(
    store: &dyn ImportStore,
    clock: &dyn Clock,
    run: &ImportRun,
    progress: &mut (dyn FnMut(&UndoneRows) -> Result<()> + Send),
) -> Result<()> {
    let _lock = lock_source(store, &run.source).await?;
    let mut after = 0;
    loop {
        let undone = store.undo_rows(run.id, after, UNDO_BATCH_SIZE).await?;
        progress(&undone)?;
        match undone.last_position {
            Some(position) => after = position,
            None => return store.mark_undone(run.id, clock.now()).await,
        }
    }
}
