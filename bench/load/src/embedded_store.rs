//! The users of the embedded store: a SQLite file in a folder that is kept from run to run.

use std::fmt::Write as _;
use std::path::Path;

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use stele_bench_kit::{BenchError, Progress, Result};

use crate::user_population::{self, COLUMNS, UserRows, Value};

/// How many rows a statement has.
const ROWS_PER_STATEMENT: u64 = 250;
/// For how long a population is good: its users have all logged in "today".
const MAX_AGE: i64 = 20 * 3_600;

#[derive(QueryableByName)]
struct PopulationInfo {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    users: i64,
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    loaded: i64,
}

/// Whether the file holds this many users, and they are good for this run.
pub(crate) fn has_users(file: &Path, users: u64) -> bool {
    let ask = || {
        let info: PopulationInfo = diesel::sql_query("SELECT users, loaded FROM bench_population")
            .get_result(&mut open_database(file).ok()?)
            .ok()?;
        Some(info)
    };
    let now = i64::try_from(user_population::unix_seconds()).unwrap_or(i64::MAX);
    file.exists() && ask().is_some_and(|info| u64::try_from(info.users) == Ok(users) && now - info.loaded < MAX_AGE)
}

/// Fills a file that has the product's schema with `users` users.
///
/// # Errors
/// If SQLite refuses.
pub(crate) fn fill_users(file: &Path, users: u64, rows: &UserRows) -> Result<()> {
    let mut connection = open_database(file)?;
    let mut execute = |sql: &str| connection.batch_execute(sql).map_err(bench_error);
    execute("PRAGMA synchronous = OFF; PRAGMA cache_size = -200000; BEGIN IMMEDIATE")?;
    execute("DELETE FROM identifiers; DELETE FROM users; DROP TABLE IF EXISTS bench_population")?;
    let progress = Progress::new("SQLite: users", users);
    let mut user = 0;
    while user < users {
        let end = users.min(user + ROWS_PER_STATEMENT);
        let (mut people, mut keys) = (format!("INSERT INTO users ({COLUMNS}) VALUES "), String::new());
        keys.push_str("INSERT INTO identifiers (key, number) VALUES ");
        for one in user..end {
            let comma = if one == user { "" } else { "," };
            people.push_str(comma);
            rows.with_row(one, |values| write_insert_row(values, &mut people));
            let (number, phone) = (user_population::FIRST_NUMBER + one, user_population::phone(one));
            let _ = write!(keys, "{comma}('{}',{number}),('{phone}',{number})", user_population::name(one));
        }
        execute(&people)?;
        execute(&keys)?;
        progress.add(end - user);
        user = end;
    }
    let now = user_population::unix_seconds();
    execute(&format!("CREATE TABLE bench_population AS SELECT {users} AS users, {now} AS loaded"))?;
    execute("COMMIT; ANALYZE; PRAGMA wal_checkpoint(TRUNCATE)")?;
    progress.finish();
    Ok(())
}

/// Empties the trail of earlier runs, for what it costs to write grows with it; and reads the file once, as a machine
/// that has served for a while has done.
///
/// # Errors
/// If SQLite refuses, or the file cannot be read.
pub(crate) fn clear_audit_log(file: &Path) -> Result<()> {
    open_database(file)?.batch_execute("DELETE FROM audit; PRAGMA wal_checkpoint(TRUNCATE)").map_err(bench_error)?;
    std::io::copy(&mut std::fs::File::open(file)?, &mut std::io::sink())?;
    Ok(())
}

fn write_insert_row(values: &[Value<'_>], out: &mut String) {
    for (column, value) in values.iter().enumerate() {
        out.push(if column == 0 { '(' } else { ',' });
        // Writing to memory does not fail. None of the texts has a quote in it.
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
    let path = file.to_str().ok_or_else(|| BenchError::new("the path of the folder is not UTF-8"))?;
    SqliteConnection::establish(path).map_err(bench_error)
}

fn bench_error(error: impl std::fmt::Display) -> BenchError {
    BenchError::new(format!("SQLite: {error}"))
}
