//! A thread with a connection of its own, which does what it is given in batches: one look at the queue, one lock of the
//! file and one commit serve many.
//!
//! Handing each call to a thread that may block costs more than the call: SQLite has its answer in microseconds.

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

/// How many jobs may wait. More than that, and who asks is told that it is unavailable rather than fall behind.
const QUEUE_CAPACITY: usize = 4_096;

/// The most jobs of one commit: so that no answer waits for a long train of others.
const MAX_BATCH: usize = 128;

/// How long to wait for an answer: more than SQLite waits for a lock, so that it is SQLite who says that it is busy.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(8);

/// Whether a job writes: a batch without one takes no write lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

/// The thread. Dropped, it does the jobs it has, closes its connection and ends before the drop does: the last connection
/// to a file moves the log into it.
pub(crate) struct SqliteThread {
    jobs: mpsc::Sender<Box<dyn Job>>,
    /// Dropped after `jobs`, whose end ends the thread.
    _runner: JoinOnDrop,
}

struct JoinOnDrop(Option<JoinHandle<()>>);

impl Drop for JoinOnDrop {
    fn drop(&mut self) {
        // A job that panics is caught, so the thread does not.
        let _ = self.0.take().map(JoinHandle::join);
    }
}

impl SqliteThread {
    /// Starts a thread for the file at `path`, on `conn`, or on a connection that it makes when it needs one.
    pub(crate) fn start(
        name: &'static str,
        path: PathBuf,
        durability: Durability,
        conn: Option<SqliteConnection>,
    ) -> std::io::Result<Self> {
        let (jobs, queue) = mpsc::channel(QUEUE_CAPACITY);
        let mover = match durability {
            Durability::SurvivesPowerLoss => None,
            Durability::SurvivesProcessCrash => Some(WalCheckpointer::start(path.clone())?),
        };
        let runner = BatchRunner { name, path, durability, conn, checkpointer: mover, disk_full: false };
        let runner = std::thread::Builder::new().name(name.to_owned()).spawn(move || runner.run(queue))?;
        Ok(Self { jobs, _runner: JoinOnDrop(Some(runner)) })
    }

    /// As [`Thread::run`]; what the database says is an error of the domain.
    pub(crate) async fn call<T, F>(&self, access: Access, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: Fn(&mut SqliteConnection) -> QueryResult<T> + Send + 'static,
    {
        self.submit(access, work).await?.map_err(map_database_error)
    }

    /// Has `work` done, wholly or not at all, and waits until it is committed, or gives what the database said. It may be
    /// done more than once, each time as if it had not been before; it is done even if the caller does not wait.
    pub(crate) async fn submit<T, F>(&self, access: Access, work: F) -> Result<QueryResult<T>>
    where
        T: Send + 'static,
        F: Fn(&mut SqliteConnection) -> QueryResult<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let task = Task { access, work, outcome: None, reply };
        self.jobs.try_send(Box::new(task)).map_err(|e| {
            Error::unavailable(match e {
                mpsc::error::TrySendError::Full(_) => "too many are waiting for the store",
                mpsc::error::TrySendError::Closed(_) => "the store has stopped",
            })
        })?;
        tokio::time::timeout(RESPONSE_TIMEOUT, answer).await.map_err(Error::unavailable)?.map_err(Error::unavailable)?
    }
}

/// A [`Task`], whatever its type of answer.
trait Job: Send {
    fn access(&self) -> Access;
    /// Does the work and keeps the outcome.
    fn execute(&mut self, conn: &mut SqliteConnection) -> QueryResult<()>;
    /// Notes that the work failed, whatever it thought of itself.
    fn fail(&mut self, error: DbError);
    /// Answers, with the outcome if the batch was committed.
    fn respond(self: Box<Self>, committed: bool);
}

struct Task<T, F> {
    access: Access,
    work: F,
    outcome: Option<QueryResult<T>>,
    reply: oneshot::Sender<Result<QueryResult<T>>>,
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

    fn respond(self: Box<Self>, committed: bool) {
        let outcome = match self.outcome {
            Some(Ok(_)) if !committed => None,
            outcome => outcome,
        };
        // Who asked may have gone.
        let _ = self.reply.send(outcome.ok_or_else(|| Error::unavailable("the store could not commit")));
    }
}

struct BatchRunner {
    name: &'static str,
    path: PathBuf,
    durability: Durability,
    /// `None` before it is needed, and after a failure that may have left it in an unknown state.
    conn: Option<SqliteConnection>,
    /// For a file that is written all the time.
    checkpointer: Option<WalCheckpointer>,
    /// Whether there was no space when something was last written.
    disk_full: bool,
}

impl BatchRunner {
    fn run(mut self, mut queue: mpsc::Receiver<Box<dyn Job>>) {
        while let Some(first) = queue.blocking_recv() {
            // Whatever is there goes along; nothing is waited for.
            let mut batch = vec![first];
            while batch.len() < MAX_BATCH
                && let Ok(job) = queue.try_recv()
            {
                batch.push(job);
            }
            let wrote = batch.iter().any(|job| job.access() == Access::Write);
            let committed = match self.commit_batch(&mut batch) {
                Ok(full) => {
                    if full || wrote {
                        self.report_disk_full(full);
                    }
                    true
                }
                Err(error) => {
                    if super::is_disk_full(&error) {
                        self.report_disk_full(true);
                    } else {
                        let (path, thread) = (self.path.display(), self.name);
                        tracing::error!(thread, %path, %error, jobs = batch.len(), "no commit");
                    }
                    self.conn = None;
                    false
                }
            };
            if let Some(mover) = &mut self.checkpointer
                && wrote
            {
                mover.record_committed(batch.len());
            }
            for job in batch {
                job.respond(committed);
            }
        }
    }

    /// Tells once that the disk is full, and once that it is not any more.
    fn report_disk_full(&mut self, full: bool) {
        if full == self.disk_full {
            return;
        }
        self.disk_full = full;
        let folder = self.path.parent().unwrap_or(&self.path).display();
        if full {
            tracing::error!(
                %folder,
                "the disk is full: nothing that was answered is lost, nobody can log in; free space there, and it goes on"
            );
        } else {
            tracing::info!(%folder, "the disk has space again");
        }
    }

    /// Gives whether some of it failed because the disk is full.
    fn commit_batch(&mut self, batch: &mut [Box<dyn Job>]) -> QueryResult<bool> {
        let conn = match &mut self.conn {
            Some(conn) => conn,
            gone => gone.insert(super::open_connection(&self.path, self.durability).map_err(|e| {
                DbError::DatabaseError(DatabaseErrorKind::UnableToSendCommand, Box::new(e.to_string()))
            })?),
        };
        if !batch.iter().any(|job| job.access() == Access::Write) {
            // A statement alone is a transaction of its own.
            return if batch.len() == 1 {
                Ok(run_individually(conn, batch))
            } else {
                run_in_read_transaction(conn, batch)
            };
        }
        // Mostly all goes well: a savepoint for each costs more than to do it all again when one fails.
        let mut failed = false;
        let together = conn.immediate_transaction(|conn| {
            let done = batch.iter_mut().try_for_each(|job| catch_job_panic(job.as_mut(), conn));
            done.inspect_err(|_| failed = true)
        });
        match together {
            Err(_) if failed => conn.immediate_transaction(|conn| Ok(run_individually(conn, batch))),
            outcome => outcome.map(|()| false),
        }
    }
}

/// Does the work of jobs that read, on one look at the file.
fn run_in_read_transaction(conn: &mut SqliteConnection, batch: &mut [Box<dyn Job>]) -> QueryResult<bool> {
    conn.transaction(|conn| Ok(run_individually(conn, batch)))
}

/// Does the work of each job, each that writes in a savepoint of its own, so that one that fails undoes itself alone.
/// Gives whether one failed because the disk is full.
fn run_individually(conn: &mut SqliteConnection, batch: &mut [Box<dyn Job>]) -> bool {
    let mut full = false;
    for job in batch {
        let outcome = match job.access() {
            Access::Read => catch_job_panic(job.as_mut(), conn),
            Access::Write => conn.transaction(|conn| catch_job_panic(job.as_mut(), conn)),
        };
        if let Err(error) = outcome {
            full |= super::is_disk_full(&error);
            job.fail(error);
        }
    }
    full
}

/// A job that panics has failed; the thread goes on.
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
        // Held up, so that the others make one batch.
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let first = writer.call(Access::Write, move |_| Ok(wait.recv().is_err()));
        let good = writer.call(Access::Write, |conn| insert(conn, 1));
        let failing = writer.call(Access::Write, |conn| insert(conn, 2).and_then(|_| insert(conn, 1)));
        let panicking = writer.call(Access::Write, |conn| insert(conn, 3).map(|_| assert_eq!(1, 2, "on purpose")));
        let last = writer.call(Access::Write, |conn| insert(conn, 4));
        let release = async { drop(go) };
        let (first, good, failing, panicking, last, ()) = tokio::join!(first, good, failing, panicking, last, release);
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
        assert!(!dir.path().join("test.db-wal").exists(), "the log was moved into the file");
    }

    #[tokio::test]
    async fn a_full_queue_rejects_jobs_immediately() {
        let dir = tempfile::tempdir().unwrap();
        let writer = std::sync::Arc::new(start_writer(&dir));
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let held = writer.call(Access::Write, move |_| Ok(wait.recv().is_err()));
        let more =
            (0..QUEUE_CAPACITY + MAX_BATCH + 1).map(|n| writer.call(Access::Write, move |conn| insert(conn, n as i64)));
        let release = async { drop(go) };
        let (held, more, ()) = tokio::join!(held, futures_util::future::join_all(more), release);
        assert!(held.unwrap());
        let refused = more.iter().filter(|result| matches!(result, Err(Error::Unavailable(_)))).count();
        assert!((1..=MAX_BATCH + 2).contains(&refused), "{refused}");
        assert_eq!(count(&writer).await, (more.len() - refused) as i64);
    }
}
