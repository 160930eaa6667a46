//! Deletion of expired rows, in batches.

use diesel::prelude::*;
use diesel::sql_types::BigInt;
use stele_core::time::Timestamp;

/// Most rows that one job deletes.
const BATCH_SIZE: usize = 1_000;

/// The tables whose rows expire, each with its key column.
pub(super) const TABLES: [(&str, &str); 9] = [
    ("budgets", "key"),
    ("known_origins", "key"),
    ("replays", "key"),
    ("sessions", "key"),
    ("revoked_tokens", "key"),
    ("codes", "key"),
    ("uses", "key"),
    ("tickets", "key"),
    ("captchas", "id"),
];

/// Deletes up to [`BATCH_SIZE`] expired rows of a table. Returns whether more may be left.
pub(super) fn delete_expired_batch(
    conn: &mut SqliteConnection,
    table: &str,
    key: &str,
    now: Timestamp,
) -> QueryResult<bool> {
    // Raw SQL: the bundled SQLite has no DELETE with LIMIT, and diesel no subquery on a table named at run time.
    let sql = format!(
        "DELETE FROM {table} WHERE ({key}) IN (SELECT {key} FROM {table} WHERE expires <= ? LIMIT {BATCH_SIZE})"
    );
    Ok(diesel::sql_query(sql).bind::<BigInt, _>(now.as_micros()).execute(conn)? == BATCH_SIZE)
}
