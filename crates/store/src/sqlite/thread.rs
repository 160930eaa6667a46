//! A dedicated thread that owns an SQLite connection and runs queued jobs in batches (group commit).
//!
//! A batch takes the file lock once and commits once for all its jobs. The queue is bounded: a full queue rejects jobs
//! at once (load shedding). `spawn_blocking` per call would cost more than the call, which SQLite answers in
//! microseconds.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::Duration;

use diesel::prelude::*;
use diesel::result::{DatabaseErrorKind, Error as DbError};
use stele_core::{Error, Result};
use tokio::sync::{mpsc, oneshot};

use super::Durability;
use super::checkpoint::WalCheckpointer;
use crate::error::map_database_error;

/// Most queued jobs. A further job fails with [`Error::Unavailable`].
const QUEUE_CAPACITY: usize = 4_096;

/// Most jobs in one commit: bounds how long a response waits for other jobs.
const MAX_BATCH: usize = 128;

/// Timeout of a job. Longer than `busy_timeout`, so that a locked database is reported by SQLite itself.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(8);

/// Whether a job only reads or also writes. A batch without writes takes no write lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

/// Handle to the thread. Dropping it runs the queued jobs, closes the connection and joins the thread; SQLite
/// checkpoints the write-ahead log when the last connection to a file closes.
pub(crate) struct SqliteThread {
    job_tx: mpsc::Sender<Box<dyn Job>>,
    /// Declared after `job_tx`, so dropped after it: closing that channel ends the thread.
    _runner: JoinOnDrop,
}

struct JoinOnDrop(Option<JoinHandle<()>>);

impl Drop for JoinOnDrop {
    fn drop(&mut self) {
        // A panic of a job is caught (`catch_job_panic`), so that the thread does not panic.
        let _ = self.0.take().map(JoinHandle::join);
    }
}

impl SqliteThread {
    /// Starts a thread for the file at `path`, with the connection `conn`. Without `conn`, the thread connects at its
    /// first job.
    pub(crate) fn start(
        name: &'static str,
        path: PathBuf,
        durability: Durability,
        conn: Option<SqliteConnection>,
    ) -> std::io::Result<Self> {
        let (job_tx, job_rx) = mpsc::channel(QUEUE_CAPACITY);
        let checkpointer = match durability {
            Durability::SurvivesPowerLoss => None,
            Durability::SurvivesProcessCrash => Some(WalCheckpointer::start(path.clone())?),
        };
        let runner = BatchRunner { name, path, durability, conn, checkpointer, disk_space: DiskSpace::Available };
        let runner = std::thread::Builder::new().name(name.to_owned()).spawn(move || runner.run(job_rx))?;
        Ok(Self { job_tx, _runner: JoinOnDrop(Some(runner)) })
    }

    /// Runs a job like [`SqliteThread::submit`], and maps its database error with [`map_database_error`].
    pub(crate) async fn call<T, F>(&self, access: Access, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: Fn(&mut SqliteConnection) -> QueryResult<T> + Send + 'static,
    {
        self.submit(access, work).await?.map_err(map_database_error)
    }

    /// Queues `work` and waits until it is committed. The work is applied completely or not at all. It may run more
    /// than once, with earlier runs rolled back, and it runs even if the caller is cancelled.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the queue is full, the thread has stopped, the job times out, or the batch cannot be
    /// committed. The inner result has the database error of `work`.
    pub(crate) async fn submit<T, F>(&self, access: Access, work: F) -> Result<QueryResult<T>>
    where
        T: Send + 'static,
        F: Fn(&mut SqliteConnection) -> QueryResult<T> + Send + 'static,
    {
        let (response_tx, response_rx) = oneshot::channel();
        let task = Task { access, work, outcome: None, response_tx };
        self.job_tx.try_send(Box::new(task)).map_err(|e| {
            Error::unavailable(match e {
                mpsc::error::TrySendError::Full(_) => "the store's queue is full",
                mpsc::error::TrySendError::Closed(_) => "the store has stopped",
            })
        })?;
        let response = tokio::time::timeout(RESPONSE_TIMEOUT, response_rx).await;
        response.map_err(Error::unavailable)?.map_err(Error::unavailable)?
    }
}

/// Whether the transaction of a batch was committed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum BatchOutcome {
    Committed,
    RolledBack,
}

/// Whether the disk had space for the last write.
#[derive(Clone, Copy, PartialEq, Eq)]
enum DiskSpace {
    Available,
    Full,
}

/// A [`Task`] with its result type erased.
trait Job: Send {
    fn access(&self) -> Access;
    /// Runs the work and stores its outcome.
    fn execute(&mut self, conn: &mut SqliteConnection) -> QueryResult<()>;
    /// Replaces the outcome with a failure.
    fn fail(&mut self, error: DbError);
    /// Sends the outcome to the caller, or [`Error::Unavailable`] for a success that was rolled back.
    fn respond(self: Box<Self>, batch: BatchOutcome);
}

struct Task<T, F> {
    access: Access,
    work: F,
    outcome: Option<QueryResult<T>>,
    response_tx: oneshot::Sender<Result<QueryResult<T>>>,
}

impl<T, F> Job for Task<T, F>
where
    T: Send,
    F: Fn(&mut SqliteConnection) -> QueryResult<T> + Send,
{
    fn access(&self) -> Access {
        self.access
    }

    fn execute(&mut self, conn: &mut SqliteConnection) -> QueryResult<()> {
        self.outcome = Some(Ok((self.work)(conn)?));
        Ok(())
    }

    fn fail(&mut self, error: DbError) {
        self.outcome = Some(Err(error));
    }

    fn respond(self: Box<Self>, batch: BatchOutcome) {
        let outcome = match self.outcome {
            Some(Ok(_)) if batch == BatchOutcome::RolledBack => None,
            outcome => outcome,
        };
        // Fails if the caller was cancelled.
        let _ = self
            .response_tx
            .send(outcome.ok_or_else(|| Error::unavailable("the store could not commit the transaction")));
    }
}

struct BatchRunner {
    name: &'static str,
    path: PathBuf,
    durability: Durability,
    /// `None` until the first job connects, and after a failed commit, which may leave a connection in an unknown
    /// state.
    conn: Option<SqliteConnection>,
    /// Only for [`Durability::SurvivesProcessCrash`], where commits do not wait for the disk.
    checkpointer: Option<WalCheckpointer>,
    /// The state that was last logged.
    disk_space: DiskSpace,
}

impl BatchRunner {
    fn run(mut self, mut job_rx: mpsc::Receiver<Box<dyn Job>>) {
        while let Some(first) = job_rx.blocking_recv() {
            // The batch has the jobs that are queued already; it does not wait for more.
            let mut batch = vec![first];
            while batch.len() < MAX_BATCH
                && let Ok(job) = job_rx.try_recv()
            {
                batch.push(job);
            }
            let has_writes = batch.iter().any(|job| job.access() == Access::Write);
            let outcome = match self.commit_batch(&mut batch) {
                Ok(space) => {
                    if space == DiskSpace::Full || has_writes {
                        self.report_disk_space(space);
                    }
                    BatchOutcome::Committed
                }
                Err(error) => {
                    if super::is_disk_full(&error) {
                        self.report_disk_space(DiskSpace::Full);
                    } else {
                        let (path, thread) = (self.path.display(), self.name);
                        tracing::error!(thread, %path, %error, jobs = batch.len(), "SQLite transaction failed");
                    }
                    self.conn = None;
                    BatchOutcome::RolledBack
                }
            };
            if let Some(checkpointer) = &mut self.checkpointer
                && has_writes
            {
                checkpointer.record_committed(batch.len());
            }
            for job in batch {
                job.respond(outcome);
            }
        }
    }

    /// Logs when the disk becomes full, and when it has space again.
    fn report_disk_space(&mut self, space: DiskSpace) {
        if space == self.disk_space {
            return;
        }
        self.disk_space = space;
        let folder = self.path.parent().unwrap_or(&self.path).display();
        match space {
            DiskSpace::Full => tracing::error!(
                %folder,
                "the disk is full: logins fail, acknowledged writes are safe; free space in this folder, without a restart"
            ),
            DiskSpace::Available => tracing::info!(%folder, "the disk has space again"),
        }
    }

    /// Runs a batch and commits it. Returns [`DiskSpace::Full`] if a job failed for lack of space.
    fn commit_batch(&mut self, batch: &mut [Box<dyn Job>]) -> QueryResult<DiskSpace> {
        let conn = match &mut self.conn {
            Some(conn) => conn,
            slot => slot.insert(super::open_connection(&self.path, self.durability).map_err(|e| {
                DbError::DatabaseError(DatabaseErrorKind::UnableToSendCommand, Box::new(e.to_string()))
            })?),
        };
        if !batch.iter().any(|job| job.access() == Access::Write) {
            // A single read is one statement, which needs no explicit transaction.
            return if batch.len() == 1 {
                Ok(run_individually(conn, batch))
            } else {
                run_in_read_transaction(conn, batch)
            };
        }
        // The first run has no savepoints: jobs rarely fail, and a savepoint per job costs more than a second run.
        let mut job_failed = false;
        let outcome = conn.immediate_transaction(|conn| {
            let result = batch.iter_mut().try_for_each(|job| catch_job_panic(job.as_mut(), conn));
            result.inspect_err(|_| job_failed = true)
        });
        match outcome {
            Err(_) if job_failed => conn.immediate_transaction(|conn| Ok(run_individually(conn, batch))),
            outcome => outcome.map(|()| DiskSpace::Available),
        }
    }
}

/// Runs jobs that only read in one transaction, on one snapshot of the database.
fn run_in_read_transaction(conn: &mut SqliteConnection, batch: &mut [Box<dyn Job>]) -> QueryResult<DiskSpace> {
    conn.transaction(|conn| Ok(run_individually(conn, batch)))
}

/// Runs each writing job in its own savepoint, so that a failed job rolls back alone. Returns [`DiskSpace::Full`] if a
/// job failed for lack of space.
fn run_individually(conn: &mut SqliteConnection, batch: &mut [Box<dyn Job>]) -> DiskSpace {
    let mut space = DiskSpace::Available;
    for job in batch {
        let outcome = match job.access() {
            Access::Read => catch_job_panic(job.as_mut(), conn),
            Access::Write => conn.transaction(|conn| catch_job_panic(job.as_mut(), conn)),
        };
        if let Err(error) = outcome {
            if super::is_disk_full(&error) {
                space = DiskSpace::Full;
            }
            job.fail(error);
        }
    }
    space
}

/// Turns a panic of a job into its failure, so that the thread continues.
fn catch_job_panic(job: &mut dyn Job, conn: &mut SqliteConnection) -> QueryResult<()> {
    catch_unwind(AssertUnwindSafe(|| job.execute(conn)))
        .unwrap_or_else(|_| Err(DbError::QueryBuilderError("a job panicked".into())))
}

#[cfg(test)]
mod tests {
    use diesel::connection::SimpleConnection;
    use diesel::sql_types::BigInt;

    use super::*;
    use crate::sqlite;

    fn start_writer(dir: &tempfile::TempDir) -> SqliteThread {
        let path = dir.path().join("test.db");
        sqlite::create_if_missing(&path).unwrap();
        let mut conn = sqlite::open_connection(&path, Durability::SurvivesProcessCrash).unwrap();
        conn.batch_execute("CREATE TABLE t (n BIGINT PRIMARY KEY)").unwrap();
        SqliteThread::start("test", path, Durability::SurvivesProcessCrash, Some(conn)).unwrap()
    }

    fn insert(conn: &mut SqliteConnection, n: i64) -> QueryResult<usize> {
        diesel::sql_query("INSERT INTO t VALUES (?)").bind::<BigInt, _>(n).execute(conn)
    }

    async fn count(writer: &SqliteThread) -> i64 {
        let count = |conn: &mut SqliteConnection| {
            diesel::select(diesel::dsl::sql::<BigInt>("(SELECT count(*) FROM t)")).get_result(conn)
        };
        writer.call(Access::Read, count).await.unwrap()
    }

    #[tokio::test]
    async fn failed_or_panicked_jobs_roll_back_alone() {
        let dir = tempfile::tempdir().unwrap();
        let writer = start_writer(&dir);
        // The first job blocks the thread, so that the others form one batch.
        let (unblock_tx, unblock_rx) = std::sync::mpsc::channel::<()>();
        let first = writer.call(Access::Write, move |_| Ok(unblock_rx.recv().is_err()));
        let good = writer.call(Access::Write, |conn| insert(conn, 1));
        let failing = writer.call(Access::Write, |conn| insert(conn, 2).and_then(|_| insert(conn, 1)));
        let panicking = writer.call(Access::Write, |conn| insert(conn, 3).map(|_| assert_eq!(1, 2, "on purpose")));
        let last = writer.call(Access::Write, |conn| insert(conn, 4));
        let unblock = async { drop(unblock_tx) };
        let (first, good, failing, panicking, last, ()) = tokio::join!(first, good, failing, panicking, last, unblock);
        assert!(first.unwrap());
        assert_eq!((good.unwrap(), last.unwrap()), (1, 1));
        assert!(matches!(failing, Err(Error::Internal(_))));
        assert!(matches!(panicking, Err(Error::Internal(_))));
        assert_eq!(count(&writer).await, 2);
    }

    #[tokio::test]
    async fn dropping_the_thread_checkpoints_the_wal() {
        let dir = tempfile::tempdir().unwrap();
        let writer = start_writer(&dir);
        writer.call(Access::Write, |conn| insert(conn, 1)).await.unwrap();
        assert!(dir.path().join("test.db-wal").exists());
        drop(writer);
        assert!(!dir.path().join("test.db-wal").exists(), "the last connection checkpoints and removes the log");
    }

    #[tokio::test]
    async fn a_full_queue_rejects_jobs_immediately() {
        let dir = tempfile::tempdir().unwrap();
        let writer = std::sync::Arc::new(start_writer(&dir));
        let (unblock_tx, unblock_rx) = std::sync::mpsc::channel::<()>();
        let blocking = writer.call(Access::Write, move |_| Ok(unblock_rx.recv().is_err()));
        let inserts =
            (0..QUEUE_CAPACITY + MAX_BATCH + 1).map(|n| writer.call(Access::Write, move |conn| insert(conn, n as i64)));
        let unblock = async { drop(unblock_tx) };
        let (blocking, results, ()) = tokio::join!(blocking, futures_util::future::join_all(inserts), unblock);
        assert!(blocking.unwrap());
        let rejected = results.iter().filter(|result| matches!(result, Err(Error::Unavailable(_)))).count();
        assert!((1..=MAX_BATCH + 2).contains(&rejected), "{rejected}");
        assert_eq!(count(&writer).await, (results.len() - rejected) as i64);
    }
}
