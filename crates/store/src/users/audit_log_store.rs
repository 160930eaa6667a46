//! Audit log store: appends, lists and purges entries in the users' database.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use diesel::pg::sql_types::Array;
use diesel::sql_types::{BigInt, Nullable, Text};
use diesel::{
    BoolExpressionMethods, ExpressionMethods, OptionalExtension, QueryDsl, QueryResult, Queryable, QueryableByName,
    SqliteConnection,
};
use diesel_async::{AsyncConnection, AsyncPgConnection};
use stele_core::audit_log::{AuditLogEntry, AuditLogEntryId, AuditLogFilter, AuditLogOrder};
use stele_core::ports::AuditLogStore;
use stele_core::time::Timestamp;
use stele_core::{Error, Result};

use super::dialect_use_writer::{FoldedUses, record_uses_postgres, record_uses_sqlite};
use super::pool::{AuditLogConnections, BackendConnections, POSTGRES_TIMEOUTS, SLOW_QUERY_TIMEOUTS, query};
use super::schema::audit;
use crate::error::map_database_error;
use crate::sqlite::thread::Access;

pub(super) struct SqlAuditLogStore {
    db: Arc<BackendConnections>,
    /// Entries are appended one batch at a time: the next is not sent before the server has let go of the last.
    appends: Arc<AuditLogConnections>,
}

impl SqlAuditLogStore {
    pub(super) fn new(db: Arc<BackendConnections>, appends: Arc<AuditLogConnections>) -> Self {
        Self { db, appends }
    }
}

/// Inserts a batch of any size with one statement: each parameter is the array of one column's values.
///
/// A row whose id exists is only locked, which is written to the WAL. A statement that writes nothing would not wait for
/// a synchronous standby, and the row may be from a commit that no standby has confirmed.
const APPEND_SQL: &str = "INSERT INTO audit (at, source, seq, act, proof, purpose, result, times, dialect, app, \
                      subject_kind, subject, address, request, operator, first_at, origins) \
                      SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, \
                      $17) \
                      ON CONFLICT (at, source, seq) DO UPDATE SET seq = audit.seq WHERE false";

/// A row of the table `audit`, with the columns in the order of the table.
#[derive(Queryable)]
struct AuditRow {
    at: i64,
    source: i64,
    seq: i64,
    act: String,
    proof: Option<String>,
    purpose: Option<String>,
    result: String,
    times: i64,
    dialect: Option<String>,
    app: Option<String>,
    subject_kind: Option<String>,
    subject: Option<String>,
    address: Option<String>,
    request: Option<String>,
    operator: Option<String>,
    first_at: Option<i64>,
    origins: Option<i64>,
}

impl From<AuditRow> for AuditLogEntry {
    fn from(row: AuditRow) -> Self {
        let into_cow = |text: Option<String>| text.map(Cow::Owned);
        Self {
            id: AuditLogEntryId { at: Timestamp::from_micros(row.at), source: row.source, seq: row.seq },
            first_at: row.first_at.map(Timestamp::from_micros),
            action: row.act.into(),
            proof: into_cow(row.proof),
            purpose: into_cow(row.purpose),
            result: row.result.into(),
            count: row.times,
            origins: row.origins,
            dialect: into_cow(row.dialect),
            app: row.app,
            subject_kind: into_cow(row.subject_kind),
            subject: row.subject,
            address: row.address,
            request: row.request,
            operator: row.operator,
            dialect_use: None,
        }
    }
}

/// The values of one column for [`APPEND_SQL`].
fn column_values<'a, T>(entries: &'a [AuditLogEntry], value: impl Fn(&'a AuditLogEntry) -> T) -> Vec<T> {
    entries.iter().map(value).collect()
}

/// [`APPEND_SQL`] with these words behind it, for `$entries`.
macro_rules! append_query {
    ($returning:literal, $entries:ident) => {
        diesel::sql_query(format!("{APPEND_SQL} {}", $returning))
            .bind::<Array<BigInt>, _>(column_values($entries, |entry| entry.id.at.as_micros()))
            .bind::<Array<BigInt>, _>(column_values($entries, |entry| entry.id.source))
            .bind::<Array<BigInt>, _>(column_values($entries, |entry| entry.id.seq))
            .bind::<Array<Text>, _>(column_values($entries, |entry| entry.action.as_ref()))
            .bind::<Array<Nullable<Text>>, _>(column_values($entries, |entry| entry.proof.as_deref()))
            .bind::<Array<Nullable<Text>>, _>(column_values($entries, |entry| entry.purpose.as_deref()))
            .bind::<Array<Text>, _>(column_values($entries, |entry| entry.result.as_ref()))
            .bind::<Array<BigInt>, _>(column_values($entries, |entry| entry.count))
            .bind::<Array<Nullable<Text>>, _>(column_values($entries, |entry| entry.dialect.as_deref()))
            .bind::<Array<Nullable<Text>>, _>(column_values($entries, |entry| entry.app.as_deref()))
            .bind::<Array<Nullable<Text>>, _>(column_values($entries, |entry| entry.subject_kind.as_deref()))
            .bind::<Array<Nullable<Text>>, _>(column_values($entries, |entry| entry.subject.as_deref()))
            .bind::<Array<Nullable<Text>>, _>(column_values($entries, |entry| entry.address.as_deref()))
            .bind::<Array<Nullable<Text>>, _>(column_values($entries, |entry| entry.request.as_deref()))
            .bind::<Array<Nullable<Text>>, _>(column_values($entries, |entry| entry.operator.as_deref()))
            .bind::<Array<Nullable<BigInt>>, _>(column_values($entries, |entry| {
                entry.first_at.map(Timestamp::as_micros)
            }))
            .bind::<Array<Nullable<BigInt>>, _>(column_values($entries, |entry| entry.origins))
    };
}

/// The id of an entry that an append has inserted.
#[derive(QueryableByName)]
struct InsertedId {
    #[diesel(sql_type = BigInt)]
    source: i64,
    #[diesel(sql_type = BigInt)]
    seq: i64,
}

/// Counts the uses of dialects of the entries that were inserted.
async fn count_uses(
    conn: &mut AsyncPgConnection,
    entries: &[AuditLogEntry],
    inserted: Vec<InsertedId>,
) -> QueryResult<()> {
    let inserted: HashSet<_> = inserted.into_iter().map(|id| (id.source, id.seq)).collect();
    let is_inserted = |entry: &&AuditLogEntry| inserted.contains(&(entry.id.source, entry.id.seq));
    record_uses_postgres(conn, &FoldedUses::of(entries.iter().filter(is_inserted))).await
}

/// Inserts entries into SQLite one by one, and counts their uses of dialects. An entry whose id exists is ignored.
fn insert_entries(conn: &mut SqliteConnection, entries: &[AuditLogEntry]) -> QueryResult<()> {
    let mut inserted = Vec::with_capacity(entries.len());
    for entry in entries {
        let row = (
            audit::at.eq(entry.id.at.as_micros()),
            audit::source.eq(entry.id.source),
            audit::seq.eq(entry.id.seq),
            audit::act.eq(entry.action.as_ref()),
            audit::proof.eq(entry.proof.as_deref()),
            audit::purpose.eq(entry.purpose.as_deref()),
            audit::result.eq(entry.result.as_ref()),
            audit::times.eq(entry.count),
            audit::dialect.eq(entry.dialect.as_deref()),
            audit::app.eq(entry.app.as_deref()),
            audit::subject_kind.eq(entry.subject_kind.as_deref()),
            audit::subject.eq(entry.subject.as_deref()),
            audit::address.eq(entry.address.as_deref()),
            audit::request.eq(entry.request.as_deref()),
            audit::operator.eq(entry.operator.as_deref()),
            audit::first_at.eq(entry.first_at.map(Timestamp::as_micros)),
            audit::origins.eq(entry.origins),
        );
        if diesel::RunQueryDsl::execute(diesel::insert_or_ignore_into(audit::table).values(row), conn)? > 0 {
            inserted.push(entry);
        }
    }
    record_uses_sqlite(conn, &FoldedUses::of(inserted))
}

/// A boxed query for the entries that match a filter. A macro, because the query's type depends on the backend.
macro_rules! filter_query {
    ($filter:expr) => {{
        let filter: &AuditLogFilter = $filter;
        let mut query = audit::table.into_boxed();
        if let Some(since) = filter.since {
            query = query.filter(audit::at.ge(since.as_micros()));
        }
        if let Some(until) = filter.until {
            query = query.filter(audit::at.lt(until.as_micros()));
        }
        if !filter.actions.is_empty() {
            query = query.filter(audit::act.eq_any(&filter.actions));
        }
        if !filter.results.is_empty() {
            query = query.filter(audit::result.eq_any(&filter.results));
        }
        if !filter.excluded_results.is_empty() {
            query = query.filter(audit::result.ne_all(&filter.excluded_results));
        }
        if !filter.dialects.is_empty() {
            query = query.filter(audit::dialect.eq_any(&filter.dialects));
        }
        if let Some(app) = &filter.app {
            query = query.filter(audit::app.eq(app));
        }
        if let Some(subject) = &filter.subject {
            query = query.filter(audit::subject.eq(subject));
        }
        if let Some(address) = &filter.address {
            query = query.filter(audit::address.eq(address));
        }
        if let Some(request) = &filter.request {
            query = query.filter(audit::request.eq(request));
        }
        query
    }};
}

#[async_trait]
impl AuditLogStore for SqlAuditLogStore {
    async fn append(&self, entries: &[AuditLogEntry]) -> Result<()> {
        let added: QueryResult<()> = match &*self.appends {
            AuditLogConnections::Postgres(pool) => {
                if entries.iter().any(|entry| entry.dialect_use.is_some()) {
                    query!(@postgres pool, POSTGRES_TIMEOUTS, |conn| {
                        conn.transaction(async |conn| {
                            let append = append_query!("RETURNING source, seq", entries);
                            let inserted = append.load::<InsertedId>(conn).await?;
                            count_uses(conn, entries, inserted).await
                        })
                        .await
                    })
                } else {
                    query!(@postgres pool, POSTGRES_TIMEOUTS, |conn| {
                        append_query!("", entries).execute(conn).await.map(drop)
                    })
                }
            }
            AuditLogConnections::Sqlite(sqlite) => {
                let entries = entries.to_vec();
                sqlite.run(Access::Write, move |conn| insert_entries(conn, &entries)).await?
            }
        };
        added.map_err(map_database_error)
    }

    async fn list(
        &self,
        filter: &AuditLogFilter,
        order: AuditLogOrder,
        after: Option<AuditLogEntryId>,
        limit: u32,
    ) -> Result<Vec<AuditLogEntry>> {
        let filter = filter.clone();
        let rows: QueryResult<Vec<AuditRow>> = query!(self.db, Read, SLOW_QUERY_TIMEOUTS, |conn| {
            let mut query = filter_query!(&filter).limit(limit.into());
            let cursor = after.map(|AuditLogEntryId { at, source, seq }| (at.as_micros(), source, seq));
            query = match order {
                AuditLogOrder::OldestFirst => query.order((audit::at, audit::source, audit::seq)),
                AuditLogOrder::NewestFirst => query.order((audit::at.desc(), audit::source.desc(), audit::seq.desc())),
            };
            if let Some((at, source, seq)) = cursor {
                // Keyset pagination. The condition on `at` alone lets the database search the index.
                query = match order {
                    AuditLogOrder::OldestFirst => query.filter(audit::at.ge(at)).filter(
                        audit::at
                            .gt(at)
                            .or(audit::source.gt(source).or(audit::source.eq(source).and(audit::seq.gt(seq)))),
                    ),
                    AuditLogOrder::NewestFirst => query.filter(audit::at.le(at)).filter(
                        audit::at
                            .lt(at)
                            .or(audit::source.lt(source).or(audit::source.eq(source).and(audit::seq.lt(seq)))),
                    ),
                };
            }
            query.load::<AuditRow>(conn).await
        });
        Ok(rows.map_err(map_database_error)?.into_iter().map(AuditLogEntry::from).collect())
    }

    async fn delete_before(&self, before: Timestamp, limit: u32) -> Result<u64> {
        let deleted: QueryResult<usize> = query!(self.db, Write, SLOW_QUERY_TIMEOUTS, |conn| {
            async {
                let expired = audit::table.filter(audit::at.lt(before.as_micros()));
                let last_row = expired.order(audit::at).offset(i64::from(limit.max(1)) - 1).select(audit::at);
                // Rows with the time of the last row are all deleted, so that a batch may exceed `limit`.
                let last_at = last_row.first::<i64>(conn).await.optional()?.unwrap_or(before.as_micros() - 1);
                diesel::delete(audit::table.filter(audit::at.le(last_at))).execute(conn).await
            }
            .await
        });
        u64::try_from(deleted.map_err(map_database_error)?).map_err(Error::internal)
    }
}
