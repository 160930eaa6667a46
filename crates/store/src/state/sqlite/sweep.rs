//! Forgetting what has expired, a chunk at a time.

use diesel::prelude::*;
use diesel::sql_types::BigInt;
use stele_core::time::Timestamp;

/// The most rows that one job deletes.
const CHUNK: usize = 1_000;

/// Every table with its key.
pub(super) const TABLES: [(&str, &str); 8] = [
    ("budgets", "key"),
    ("known_origins", "key"),
    ("replays", "key"),
    ("sessions", "key"),
    ("codes", "key"),
    ("uses", "key"),
    ("tickets", "key"),
    ("captchas", "id"),
];

/// Deletes some of a table's expired rows. Gives whether there may be more.
pub(super) fn delete_expired_batch(
    conn: &mut SqliteConnection,
    table: &str,
    key: &str,
    now: Timestamp,
) -> QueryResult<bool> {
    // Written as text because SQLite has no DELETE with a LIMIT, and diesel no tuple in a subquery.
    let sql =
        format!("DELETE FROM {table} WHERE ({key}) IN (SELECT {key} FROM {table} WHERE expires <= ? LIMIT {CHUNK})");
    Ok(diesel::sql_query(sql).bind::<BigInt, _>(now.as_micros()).execute(conn)? == CHUNK)
}
