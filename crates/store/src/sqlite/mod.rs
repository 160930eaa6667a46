//! How SQLite files are made and opened.

mod checkpoint;
pub(crate) mod thread;

use std::fs::OpenOptions;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::result::Error as DbError;
use diesel::{Connection, ConnectionError, ConnectionResult, SqliteConnection};

use crate::OpenError;

/// What a commit waits for.
#[derive(Clone, Copy)]
pub(crate) enum Durability {
    /// The disk: what was answered survives a power cut.
    SurvivesPowerLoss,
    /// The system: what was answered survives the process.
    SurvivesProcessCrash,
}

/// Makes the file if it is not there, readable by its owner alone, and checks that it is (or can become) a database.
pub(crate) fn create_if_missing(path: &Path) -> Result<(), OpenError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true);
    // SQLite would go by the umask; its -wal and -shm files take the mode of this one.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    open_file(path, &mut options)
}

/// Checks that an existing file is a database.
pub(crate) fn check_existing(path: &Path) -> Result<(), OpenError> {
    open_file(path, OpenOptions::new().read(true).write(true))
}

/// Opens the file, unless it or one that SQLite keeps beside it is a symbolic link: it could lead to a file of others, or
/// to one that they read.
fn open_file(path: &Path, options: &mut OpenOptions) -> Result<(), OpenError> {
    let beside = |ending: &str| PathBuf::from(format!("{}{ending}", path.display()));
    if let Some(link) = ["", "-wal", "-shm", "-journal"].map(beside).into_iter().find(|path| path.is_symlink()) {
        return Err(OpenError::SymbolicLink(link));
    }
    let file = options.open(path).map_err(|cause| OpenError::Unwritable { path: path.to_owned(), cause })?;
    check_header(path, file)
}

fn check_header(path: &Path, file: std::fs::File) -> Result<(), OpenError> {
    let mut header = Vec::new();
    file.take(16).read_to_end(&mut header).map_err(|cause| OpenError::Unwritable { path: path.to_owned(), cause })?;
    // An empty file is an empty database.
    let known = header.is_empty() || header == b"SQLite format 3\0";
    known.then_some(()).ok_or_else(|| OpenError::NotADatabase(path.to_owned()))
}

/// Connects to an existing file.
pub(crate) fn open_connection(path: &Path, durability: Durability) -> ConnectionResult<SqliteConnection> {
    let mut conn = SqliteConnection::establish(&existing_file_uri(path)?)?;
    let synchronous = match durability {
        Durability::SurvivesPowerLoss => "FULL",
        Durability::SurvivesProcessCrash => "NORMAL",
    };
    // The wait for locks comes first, so that what follows waits too. The cache is in KiB. The log, in pages of 4 KiB, is
    // kept at its size: to write anew where something was is quicker than to make a file longer. That of the state is long, as
    // another thread moves it meanwhile: see `log.rs`.
    let (cache, log, kept) = match durability {
        Durability::SurvivesPowerLoss => (8_192, 4_000, 32 << 20),
        Durability::SurvivesProcessCrash => (16_384, 24_000, 128 << 20),
    };
    let pragmas = format!(
        "PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; PRAGMA synchronous = {synchronous}; \
         PRAGMA foreign_keys = ON; PRAGMA cache_size = -{cache}; PRAGMA wal_autocheckpoint = {log}; \
         PRAGMA journal_size_limit = {kept};"
    );
    // Turning to WAL, once in a file's life, does not wait for another who is at it.
    for _ in 0..50 {
        if conn.batch_execute(&pragmas).is_ok() {
            return Ok(conn);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    conn.batch_execute(&pragmas).map_err(ConnectionError::CouldntSetupConfiguration)?;
    Ok(conn)
}

/// Whether a statement failed because the disk is full. diesel passes on no more than SQLite's words (`SQLITE_FULL`).
pub(crate) fn is_disk_full(error: &DbError) -> bool {
    matches!(error, DbError::DatabaseError(_, info) if info.message().contains("disk is full"))
}

/// The file as a URI that opens it only if it exists: SQLite never makes a file by itself, with a mode we did not
/// choose.
fn existing_file_uri(path: &Path) -> ConnectionResult<String> {
    let absolute = std::path::absolute(path).map_err(|e| ConnectionError::BadConnection(e.to_string()))?;
    let text = absolute.to_str().ok_or_else(|| ConnectionError::BadConnection("the path is not UTF-8".to_owned()))?;
    let escaped = text.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    Ok(format!("file:{escaped}?mode=rw"))
}
