//! Takes an import back.

use super::import::Imports;
use crate::import::{RunId, SourceName};
use crate::ports::{ImportRun, ImportStore, SourceLock, UndoneRows};
use crate::time::Clock;
use crate::{Error, Result};

/// How many old ids one transaction reads.
const UNDO_BATCH_SIZE: u32 = 500;

/// The run that an undo takes back, and the others of its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UndoChoice {
    /// This run.
    Run {
        /// The run.
        run: ImportRun,
        /// Earlier runs that are not undone and have brought users who remain, the newest first.
        earlier: Vec<RunId>,
    },
    /// This run is undone already.
    Undone {
        /// The run.
        run: RunId,
        /// Whether users of it stayed, so that it can be taken back again.
        has_users: bool,
        /// As for [`UndoChoice::Run`].
        earlier: Vec<RunId>,
    },
    /// The source has no such run, or none that has brought users.
    Missing,
}

#[expect(clippy::missing_errors_doc, reason = "the type's documentation names them for all methods")]
impl Imports {
    /// The run of a source to take back: the wanted one, if users of it remain or it is not undone; else the latest one
    /// that has brought users.
    pub async fn choose_undo(&self, source: &SourceName, wanted: Option<RunId>) -> Result<UndoChoice> {
        let runs = self.deps.store.list_runs(source).await?;
        let with_users = self.deps.store.list_runs_with_users(source).await?;
        // The counts of a run that was rewound may lack users that it has brought.
        let has_users = |run: &ImportRun| with_users.contains(&run.id);
        let has_brought = |run: &ImportRun| run.counts.added + run.counts.merged > 0 || has_users(run);
        let chosen = runs.iter().find(|run| wanted.map_or_else(|| has_brought(run), |id| run.id == id));
        let Some(run) = chosen.cloned() else { return Ok(UndoChoice::Missing) };
        let earlier = runs.iter().filter(|other| other.id < run.id && other.undone_at.is_none() && has_users(other));
        let earlier = earlier.map(|other| other.id).collect();
        let can_repeat = wanted.is_some() && has_users(&run);
        Ok(match run.undone_at.is_some() && !can_repeat {
            true => UndoChoice::Undone { has_users: has_users(&run), run: run.id, earlier },
            false => UndoChoice::Run { run, earlier },
        })
    }

    /// Takes a run back: see [`undo`].
    pub async fn undo(
        &self,
        run: &ImportRun,
        progress: &mut (dyn FnMut(&UndoneRows) -> Result<()> + Send),
    ) -> Result<()> {
        undo(self.deps.store.as_ref(), self.deps.clock.as_ref(), run, progress).await
    }
}

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
    let mut after = String::new();
    loop {
        let undone = store.undo_rows(run.id, &after, UNDO_BATCH_SIZE).await?;
        progress(&undone)?;
        match undone.last_id {
            Some(id) => after = id,
            None => return store.mark_undone(run.id, clock.now()).await,
        }
    }
}
