//! SQLite files, opened read-only. A thread of its own reads the rows.

use std::path::{Path, PathBuf};

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, Row};
use tokio::sync::mpsc;

use super::row_receiver::{ROWS_AHEAD, ReadRow, RowReceiver};
use super::{SourceError, locate_columns};
use crate::map::ImportMap;
use crate::record::Cell;

pub(super) fn open(path: PathBuf, map: &ImportMap) -> Result<RowReceiver, SourceError> {
    let conn = connect(&path)?;
    let wanted = locate_columns(map, &column_names(&conn, &path, &map.query)?)?;
    let (row_tx, row_rx) = mpsc::channel(ROWS_AHEAD);
    let query = map.query.clone();
    let read = move || {
        if let Err(error) = read_rows(&conn, &query, &wanted, &row_tx) {
            // Fails if the import has stopped.
            let _ = row_tx.blocking_send(Err(database_error(&path, &error)));
        }
    };
    let started = std::thread::Builder::new().name("stele-import-sqlite".to_owned()).spawn(read);
    started.map_err(|cause| SourceError::Location(format!("cannot start a thread: {cause}")))?;
    Ok(RowReceiver::new(row_rx))
}

/// The names of the columns of a query, which is not run.
pub(super) fn columns_of_query(path: &Path, query: &str) -> Result<Vec<String>, SourceError> {
    column_names(&connect(path)?, path, query)
}

fn connect(path: &Path) -> Result<Connection, SourceError> {
    // SQLite's own message for a missing file does not name it.
    std::fs::File::open(path).map_err(|cause| SourceError::Unreadable { path: path.to_owned(), cause })?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(path, flags).map_err(|e| database_error(path, &e))
}

fn column_names(conn: &Connection, path: &Path, query: &str) -> Result<Vec<String>, SourceError> {
    let statement = conn.prepare(query).map_err(|e| database_error(path, &e))?;
    Ok(statement.column_names().into_iter().map(str::to_owned).collect())
}

/// Sends all rows. Stops early if the receiver is gone.
fn read_rows(conn: &Connection, query: &str, wanted: &[usize], row_tx: &mpsc::Sender<ReadRow>) -> rusqlite::Result<()> {
    let mut statement = conn.prepare(query)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let cells = wanted.iter().map(|&n| read_cell(row, n)).collect::<rusqlite::Result<_>>()?;
        if row_tx.blocking_send(Ok(cells)).is_err() {
            break;
        }
    }
    Ok(())
}

fn read_cell(row: &Row<'_>, column: usize) -> rusqlite::Result<Cell> {
    Ok(match row.get_ref(column)? {
        ValueRef::Null => Cell::Null,
        ValueRef::Integer(number) => Cell::text(number.to_string()),
        ValueRef::Real(number) => Cell::text(number.to_string()),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Cell::from_utf8(bytes),
    })
}

fn database_error(path: &Path, error: &rusqlite::Error) -> SourceError {
    SourceError::Database { database: path.display().to_string(), cause: error.to_string() }
}
