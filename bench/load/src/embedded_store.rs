//! Fills the embedded user store: a SQLite file that later runs reuse.

use std::fmt::Write as _;
use std::path::Path;

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use stele_bench_kit::{BenchError, Progress, Result};

use crate::user_population::{self, COLUMNS, UserRows, Value};

/// Rows per INSERT statement.
const ROWS_PER_STATEMENT: u64 = 250;
/// How long a population is used, in seconds: its rows say that each user has logged in today.
const MAX_AGE: i64 = 20 * 3_600;

#[derive(QueryableByName)]
struct PopulationInfo {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    users: i64,
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    loaded: i64,
}

/// Whether the file contains this many users, and they are recent enough.
pub(crate) fn has_users(file: &Path, users: u64) -> bool {
    let read_info = || {
        let info: PopulationInfo = diesel::sql_query("SELECT users, loaded FROM bench_population")
            .get_result(&mut open_database(file).ok()?)
            .ok()?;
        Some(info)
    };
    let now = i64::try_from(user_population::unix_seconds()).unwrap_or(i64::MAX);
    file.exists()
        && read_info().is_some_and(|info| u64::try_from(info.users) == Ok(users) && now - info.loaded < MAX_AGE)
}

/// Adds `users` users to a file with the product's schema, in place of existing ones.
///
/// # Errors
/// If SQLite fails.
pub(crate) fn fill_users(file: &Path, users: u64, rows: &UserRows) -> Result<()> {
    let mut connection = open_database(file)?;
    let mut execute = |sql: &str| connection.batch_execute(sql).map_err(bench_error);
    execute("PRAGMA synchronous = OFF; PRAGMA cache_size = -200000; BEGIN IMMEDIATE")?;
    execute("DELETE FROM identifiers; DELETE FROM users; DROP TABLE IF EXISTS bench_population")?;
    let progress = Progress::new("SQLite: users", users);
    let mut user = 0;
    while user < users {
        let end = users.min(user + ROWS_PER_STATEMENT);
        let (mut user_rows, mut identifiers) = (format!("INSERT INTO users ({COLUMNS}) VALUES "), String::new());
        identifiers.push_str("INSERT INTO identifiers (key, number) VALUES ");
        for index in user..end {
            let comma = if index == user { "" } else { "," };
            user_rows.push_str(comma);
            rows.with_row(index, |values| write_insert_row(values, &mut user_rows));
            let (number, phone) = (user_population::FIRST_NUMBER + index, user_population::phone(index));
            let _ = write!(identifiers, "{comma}('{}',{number}),('{phone}',{number})", user_population::name(index));
        }
        execute(&user_rows)?;
        execute(&identifiers)?;
        progress.add(end - user);
        user = end;
    }
    let now = user_population::unix_seconds();
    execute(&format!("CREATE TABLE bench_population AS SELECT {users} AS users, {now} AS loaded"))?;
    execute("COMMIT; ANALYZE; PRAGMA wal_checkpoint(TRUNCATE)")?;
    progress.finish();
    Ok(())
}

/// Deletes earlier runs' audit log, since its size affects the cost of writes; and reads the file once into the page
/// cache, as on a server in operation.
///
/// # Errors
/// If SQLite fails, or the file cannot be read.
pub(crate) fn clear_audit_log(file: &Path) -> Result<()> {
    open_database(file)?.batch_execute("DELETE FROM audit; PRAGMA wal_checkpoint(TRUNCATE)").map_err(bench_error)?;
    std::io::copy(&mut std::fs::File::open(file)?, &mut std::io::sink())?;
    Ok(())
}

fn write_insert_row(values: &[Value<'_>], out: &mut String) {
    for (column, value) in values.iter().enumerate() {
        out.push(if column == 0 { '(' } else { ',' });
        // Writing to a string does not fail. No text contains a quote.
        let _ = match value {
            Value::Number(number) => write!(out, "{number}"),
            Value::Text(text) => write!(out, "'{text}'"),
            Value::Bytes(bytes) => write!(out, "x'{}'", stele_core::hex::encode(bytes)),
            Value::Null => write!(out, "0"),
        };
    }
    out.push(')');
}

fn open_database(file: &Path) -> Result<SqliteConnection> {
    let path = file
        .to_str()
        .ok_or_else(|| BenchError::new("the folder's path is not UTF-8; choose another one with --keep"))?;
    SqliteConnection::establish(path).map_err(bench_error)
}

fn bench_error(error: impl std::fmt::Display) -> BenchError {
    BenchError::new(format!("SQLite: {error}"))
}
