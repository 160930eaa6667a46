//! Moves what was committed out of the log into the file, on a thread of its own.
//!
//! Moving waits for the disk, twice, and SQLite has the one who commits do it, every so many pages: all who log in wait
//! with it. Here another thread moves while commits go on, again and again until little is left; that little is what
//! the next commit finds to move, whereupon the log begins anew.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use diesel::prelude::*;
use diesel::sql_types::Integer;

use super::Durability;

/// So many jobs make it worth a move: they write a sixth of the pages that who commits lets the log have (`connect`). When
/// it has them, most were moved already, and it does not wait for the disk with all that was written since.
const JOBS_PER_CHECKPOINT: usize = 1_500;
/// So few pages are little: the disk has them in a few milliseconds.
const SMALL_REMAINDER_PAGES: i32 = 400;
/// How often it is tried to get there: commits may come as fast as they are moved.
const MAX_CHECKPOINT_PASSES: usize = 16;

/// A handle to the thread, which ends with it.
pub(super) struct WalCheckpointer {
    wake_tx: SyncSender<()>,
    pending_jobs: usize,
}

impl WalCheckpointer {
    /// Starts the thread for the file at `path`, to which it connects when there is something to move.
    pub(super) fn start(path: PathBuf) -> std::io::Result<Self> {
        let (wake, woken) = sync_channel(1);
        std::thread::Builder::new().name("stele-log".to_owned()).spawn(move || run_checkpoints(&path, &woken))?;
        Ok(Self { wake_tx: wake, pending_jobs: 0 })
    }

    /// Tells that so many more jobs have been committed.
    pub(super) fn record_committed(&mut self, jobs: usize) {
        self.pending_jobs += jobs;
        if self.pending_jobs >= JOBS_PER_CHECKPOINT {
            self.pending_jobs = 0;
            // It may be at it.
            let _ = self.wake_tx.try_send(());
        }
    }
}

fn run_checkpoints(path: &Path, woken: &Receiver<()>) {
    let mut conn = None;
    while woken.recv().is_ok() {
        if let Err(cause) = checkpoint_most(&mut conn, path) {
            // Whoever commits does it then.
            tracing::debug!(path = %path.display(), cause, "the log could not be moved");
            conn = None;
        }
    }
}

/// What is used of what `PRAGMA wal_checkpoint` tells: how many of the log's pages are in the file.
#[derive(QueryableByName)]
struct CheckpointedPages {
    #[diesel(sql_type = Integer)]
    checkpointed: i32,
}

fn checkpoint_most(conn: &mut Option<SqliteConnection>, path: &Path) -> Result<(), String> {
    let conn = match conn {
        Some(conn) => conn,
        none => none.insert(super::open_connection(path, Durability::SurvivesProcessCrash).map_err(|e| e.to_string())?),
    };
    let mut before = 0;
    for _ in 0..MAX_CHECKPOINT_PASSES {
        let moved = diesel::sql_query("PRAGMA wal_checkpoint(PASSIVE)").get_result::<CheckpointedPages>(conn);
        let CheckpointedPages { checkpointed } = moved.map_err(|e| e.to_string())?;
        if checkpointed - before < SMALL_REMAINDER_PAGES {
            break;
        }
        before = checkpointed;
    }
    Ok(())
}
