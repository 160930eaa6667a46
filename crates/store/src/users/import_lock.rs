//! Reserves a source of an import for one process: a session's advisory lock on PostgreSQL, a lock on a file beside an
//! SQLite database. Both end with the process, also after `kill -9`.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use diesel::sql_types::{Bool, Integer};
use diesel::{QueryableByName, sql_query};
use diesel_async::RunQueryDsl as _;
use stele_core::import::SourceName;
use stele_core::mac::sha256;
use stele_core::ports::SourceLock;
use stele_core::{Error, Result};

use super::pool::{ADMIN_CONNECT_TIMEOUT, BackendConnections, ConnectionPool, PostgresConnection};
use super::postgres::CheckedConnectError;

/// How long to wait for the lock of a session whose client has ended, which PostgreSQL may not have noticed yet.
const RELEASE_GRACE: Duration = Duration::from_secs(2);
const RETRY_INTERVAL: Duration = Duration::from_millis(50);

/// Reserves a source; `None` if another process has reserved it.
pub(super) async fn lock(db: &BackendConnections, source: &SourceName) -> Result<Option<SourceLock>> {
    match db {
        BackendConnections::Postgres(postgres) => lock_in_postgres(&postgres.pool, source).await,
        BackendConnections::Sqlite(sqlite) => lock_file(sqlite.path(), source),
    }
}

#[derive(QueryableByName)]
struct Locked {
    #[diesel(sql_type = Bool)]
    locked: bool,
}

/// The lock has a connection of its own: it lasts as long as the session.
async fn lock_in_postgres(pool: &ConnectionPool, source: &SourceName) -> Result<Option<SourceLock>> {
    let connected = tokio::time::timeout(ADMIN_CONNECT_TIMEOUT, pool.connect_checked()).await;
    let mut connection = connected.map_err(Error::unavailable)?.map_err(|error| match error {
        CheckedConnectError::SharedSessions => Error::unavailable(
            "a connection pooler shares sessions between clients: set pool_mode=session for this database in \
                 pgbouncer, or connect to PostgreSQL directly",
        ),
        CheckedConnectError::Unreachable(cause) => Error::unavailable(cause),
    })?;
    let digest = sha256(format!("stele import {source}").as_bytes());
    let key = i32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
    let deadline = Instant::now() + RELEASE_GRACE;
    loop {
        if try_lock(&mut connection, key).await? {
            return Ok(Some(SourceLock::new(Mutex::new(connection))));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        tokio::time::sleep(RETRY_INTERVAL).await;
    }
}

async fn try_lock(connection: &mut PostgresConnection, key: i32) -> Result<bool> {
    let (conn, _) = connection.parts();
    // Installations may share a database in schemas of their own.
    let query = sql_query("SELECT pg_try_advisory_lock($1, hashtext(current_schema())) AS locked");
    let answer = tokio::time::timeout(ADMIN_CONNECT_TIMEOUT, query.bind::<Integer, _>(key).get_result(conn)).await;
    let Locked { locked } = answer.map_err(Error::unavailable)?.map_err(Error::unavailable)?;
    Ok(locked)
}

fn lock_file(database: &Path, source: &SourceName) -> Result<Option<SourceLock>> {
    let path = PathBuf::from(format!("{}.import-{source}.lock", database.display()));
    let error = |cause: std::io::Error| Error::unavailable(format!("cannot lock {}: {cause}", path.display()));
    let file = open_private(&path).map_err(error)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(SourceLock::new(file))),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(cause)) => Err(error(cause)),
    }
}

/// The file stays: removing it while another process opens it would let both have the lock.
fn open_private(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}
