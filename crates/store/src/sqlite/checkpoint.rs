//! Checkpoints of SQLite's write-ahead log, on a background thread.
//!
//! A checkpoint copies committed pages from the log into the database file and waits for the disk twice. SQLite's
//! automatic checkpoint runs in the commit that reaches `wal_autocheckpoint`, and every login queued behind that commit
//! waits. This thread runs passive checkpoints while commits continue, until few pages are left. The automatic
//! checkpoint then copies only those pages, and the log restarts at its beginning.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use diesel::prelude::*;
use diesel::sql_types::Integer;

use super::Durability;

/// Committed jobs between two checkpoints. They write about a sixth of the pages at which the automatic checkpoint
/// starts (`wal_autocheckpoint` in [`super::open_connection`]), so that most pages are copied before that.
const JOBS_PER_CHECKPOINT: usize = 1_500;
/// A pass that copies fewer pages of 4 KiB than this is the last: the disk writes the rest in a few milliseconds.
const SMALL_REMAINDER_PAGES: i32 = 400;
/// Most passes of one checkpoint: commits may add pages as fast as a pass copies them.
const MAX_CHECKPOINT_PASSES: usize = 16;

/// Handle to the checkpoint thread. The thread ends when the handle is dropped.
pub(super) struct WalCheckpointer {
    wake_tx: SyncSender<()>,
    /// Committed jobs since the thread was last woken.
    jobs_since_wake: usize,
}

impl WalCheckpointer {
    /// Starts the thread for the file at `path`. It connects at its first checkpoint.
    pub(super) fn start(path: PathBuf) -> std::io::Result<Self> {
        let (wake_tx, wake_rx) = sync_channel(1);
        std::thread::Builder::new().name("stele-log".to_owned()).spawn(move || run_checkpoints(&path, &wake_rx))?;
        Ok(Self { wake_tx, jobs_since_wake: 0 })
    }

    /// Counts committed jobs, and wakes the thread every [`JOBS_PER_CHECKPOINT`].
    pub(super) fn record_committed(&mut self, jobs: usize) {
        self.jobs_since_wake += jobs;
        if self.jobs_since_wake >= JOBS_PER_CHECKPOINT {
            self.jobs_since_wake = 0;
            // Full if a wake-up is pending: one is enough.
            let _ = self.wake_tx.try_send(());
        }
    }
}

fn run_checkpoints(path: &Path, wake_rx: &Receiver<()>) {
    let mut conn = None;
    while wake_rx.recv().is_ok() {
        if let Err(cause) = run_checkpoint_passes(&mut conn, path) {
            // SQLite's automatic checkpoint takes over.
            tracing::debug!(path = %path.display(), cause, "SQLite checkpoint failed; a later commit runs it");
            conn = None;
        }
    }
}

/// The column `checkpointed` of `PRAGMA wal_checkpoint`: pages of the log that are copied into the database file.
#[derive(QueryableByName)]
struct CheckpointedPages {
    #[diesel(sql_type = Integer)]
    checkpointed: i32,
}

/// Runs passive checkpoints until a pass copies few pages.
///
/// # Errors
/// SQLite's error message.
fn run_checkpoint_passes(conn: &mut Option<SqliteConnection>, path: &Path) -> Result<(), String> {
    let conn = match conn {
        Some(conn) => conn,
        slot => slot.insert(super::open_connection(path, Durability::SurvivesProcessCrash).map_err(|e| e.to_string())?),
    };
    let mut previous = 0;
    for _ in 0..MAX_CHECKPOINT_PASSES {
        let row = diesel::sql_query("PRAGMA wal_checkpoint(PASSIVE)").get_result::<CheckpointedPages>(conn);
        let CheckpointedPages { checkpointed } = row.map_err(|e| e.to_string())?;
        if checkpointed - previous < SMALL_REMAINDER_PAGES {
            break;
        }
        previous = checkpointed;
    }
    Ok(())
}
