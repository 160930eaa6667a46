//! SQLite files: creation with private permissions, and connections with their pragmas.

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

/// Which failures a committed transaction survives.
#[derive(Clone, Copy)]
pub(crate) enum Durability {
    /// A power loss: a commit waits for the disk (`synchronous = FULL`).
    SurvivesPowerLoss,
    /// A crash of the process, but not a power loss (`synchronous = NORMAL`).
    SurvivesProcessCrash,
}

/// Creates the file with mode 0600 if it is missing, and checks that it is empty or an SQLite database.
pub(crate) fn create_if_missing(path: &Path) -> Result<(), OpenError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true);
    // SQLite would apply the umask. It gives its -wal and -shm files the mode of the database file.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    open_file(path, &mut options)
}

/// Checks that an existing file is writable and empty or an SQLite database.
pub(crate) fn check_existing(path: &Path) -> Result<(), OpenError> {
    open_file(path, OpenOptions::new().read(true).write(true))
}

/// Opens the file and checks its header. Rejects a symbolic link in place of the file, or of a file that SQLite writes
/// beside it: writing through the link could overwrite another user's file, or expose data in a file that others can
/// read.
fn open_file(path: &Path, options: &mut OpenOptions) -> Result<(), OpenError> {
    let with_suffix = |suffix: &str| PathBuf::from(format!("{}{suffix}", path.display()));
    if let Some(link) = ["", "-wal", "-shm", "-journal"].map(with_suffix).into_iter().find(|path| path.is_symlink()) {
        return Err(OpenError::SymbolicLink(link));
    }
    let file = options.open(path).map_err(|cause| OpenError::Unwritable { path: path.to_owned(), cause })?;
    check_header(path, file)
}

fn check_header(path: &Path, file: std::fs::File) -> Result<(), OpenError> {
    let mut header = Vec::new();
    file.take(16).read_to_end(&mut header).map_err(|cause| OpenError::Unwritable { path: path.to_owned(), cause })?;
    // An empty file is an empty database.
    let is_database = header.is_empty() || header == b"SQLite format 3\0";
    is_database.then_some(()).ok_or_else(|| OpenError::NotADatabase(path.to_owned()))
}

/// Connects to an existing file and sets the connection's pragmas. Blocks, and retries for about a second while another
/// connection switches the file to WAL mode.
pub(crate) fn open_connection(path: &Path, durability: Durability) -> ConnectionResult<SqliteConnection> {
    let mut conn = SqliteConnection::establish(&existing_file_uri(path)?)?;
    let synchronous = match durability {
        Durability::SurvivesPowerLoss => "FULL",
        Durability::SurvivesProcessCrash => "NORMAL",
    };
    // A log of up to `journal_size_limit` bytes is overwritten instead of truncated, which is faster than extending a
    // file again. The state store's log may grow longer, because the checkpoint thread copies its pages: see
    // `checkpoint.rs`. `busy_timeout` comes first, so that the other pragmas wait for locks as well.
    let (cache_kib, autocheckpoint_pages, wal_size_limit) = match durability {
        Durability::SurvivesPowerLoss => (8_192, 4_000, 32 << 20),
        Durability::SurvivesProcessCrash => (16_384, 24_000, 128 << 20),
    };
    let pragmas = format!(
        "PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; PRAGMA synchronous = {synchronous}; \
         PRAGMA foreign_keys = ON; PRAGMA cache_size = -{cache_kib}; \
         PRAGMA wal_autocheckpoint = {autocheckpoint_pages}; PRAGMA journal_size_limit = {wal_size_limit};"
    );
    // The switch to WAL mode, once per file, ignores `busy_timeout` while another connection switches as well: retry.
    for _ in 0..50 {
        if conn.batch_execute(&pragmas).is_ok() {
            return Ok(conn);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    conn.batch_execute(&pragmas).map_err(ConnectionError::CouldntSetupConfiguration)?;
    Ok(conn)
}

/// Whether a statement failed because the disk is full (`SQLITE_FULL`). Compares SQLite's message, because diesel does
/// not expose the error code.
pub(crate) fn is_disk_full(error: &DbError) -> bool {
    matches!(error, DbError::DatabaseError(_, info) if info.message().contains("disk is full"))
}

/// URI that opens the file only if it exists. Otherwise SQLite would create it with permissions by the umask.
fn existing_file_uri(path: &Path) -> ConnectionResult<String> {
    let absolute = std::path::absolute(path).map_err(|e| ConnectionError::BadConnection(e.to_string()))?;
    let text = absolute.to_str().ok_or_else(|| ConnectionError::BadConnection("the path is not UTF-8".to_owned()))?;
    let escaped = text.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    Ok(format!("file:{escaped}?mode=rw"))
}
