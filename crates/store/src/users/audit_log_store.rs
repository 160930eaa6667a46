//! The audit trail, in the users' database.

use std::borrow::Cow;
use std::sync::Arc;

use async_trait::async_trait;
use diesel::pg::sql_types::Array;
use diesel::sql_types::{BigInt, Nullable, Text};
use diesel::{
    BoolExpressionMethods, ExpressionMethods, OptionalExtension, QueryDsl, QueryResult, Queryable, SqliteConnection,
};
use diesel_async::pooled_connection::deadpool::Object;
use stele_core::audit_log::{AuditLogEntry, AuditLogEntryId, AuditLogFilter, AuditLogOrder};
use stele_core::ports::AuditLogStore;
use stele_core::time::Timestamp;
use stele_core::{Error, Result};

use super::pool::{
    BackendConnections, POSTGRES_CONFIG, PooledConnection, PostgresConnections, SLOW_QUERY_CONFIG, query, resolve_now,
};
use super::schema::audit;
use crate::error::map_database_error;
use crate::sqlite::thread::Access;

pub(super) struct SqlAuditLogStore {
    db: Arc<BackendConnections>,
}

impl SqlAuditLogStore {
    pub(super) fn new(db: Arc<BackendConnections>) -> Self {
        Self { db }
    }
}

/// One statement for a batch of any size: an array a column.
const APPEND_SQL: &str = "INSERT INTO audit (at, source, seq, act, proof, purpose, result, times, dialect, app, \
                      subject_kind, subject, address, request, operator, first_at, origins) \
                      SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, \
                      $17) \
                      ON CONFLICT DO NOTHING";

/// As the table has it, column by column.
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
        let word = |text: Option<String>| text.map(Cow::Owned);
        Self {
            id: AuditLogEntryId { at: Timestamp::from_micros(row.at), source: row.source, seq: row.seq },
            first_at: row.first_at.map(Timestamp::from_micros),
            action: row.act.into(),
            proof: word(row.proof),
            purpose: word(row.purpose),
            result: row.result.into(),
            count: row.times,
            origins: row.origins,
            dialect: word(row.dialect),
            app: row.app,
            subject_kind: word(row.subject_kind),
            subject: row.subject,
            address: row.address,
            request: row.request,
            operator: row.operator,
        }
    }
}

/// A column of a batch, for PostgreSQL.
fn column_values<'a, T>(entries: &'a [AuditLogEntry], value: impl Fn(&'a AuditLogEntry) -> T) -> Vec<T> {
    entries.iter().map(value).collect()
}

fn insert_entries(conn: &mut SqliteConnection, entries: &[AuditLogEntry]) -> QueryResult<()> {
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
        diesel::RunQueryDsl::execute(diesel::insert_or_ignore_into(audit::table).values(row), conn)?;
    }
    Ok(())
}

/// The entries that a filter lets through, as a query for whichever backend is asked.
macro_rules! filtered {
    ($filter:expr) => {{
        let filter: &AuditLogFilter = $filter;
        let mut found = audit::table.into_boxed();
        if let Some(since) = filter.since {
            found = found.filter(audit::at.ge(since.as_micros()));
        }
        if let Some(until) = filter.until {
            found = found.filter(audit::at.lt(until.as_micros()));
        }
        if !filter.actions.is_empty() {
            found = found.filter(audit::act.eq_any(&filter.actions));
        }
        if !filter.results.is_empty() {
            found = found.filter(audit::result.eq_any(&filter.results));
        }
        if !filter.excluded_results.is_empty() {
            found = found.filter(audit::result.ne_all(&filter.excluded_results));
        }
        if !filter.dialects.is_empty() {
            found = found.filter(audit::dialect.eq_any(&filter.dialects));
        }
        if let Some(app) = &filter.app {
            found = found.filter(audit::app.eq(app));
        }
        if let Some(subject) = &filter.subject {
            found = found.filter(audit::subject.eq(subject));
        }
        if let Some(address) = &filter.address {
            found = found.filter(audit::address.eq(address));
        }
        if let Some(request) = &filter.request {
            found = found.filter(audit::request.eq(request));
        }
        found
    }};
}

#[async_trait]
impl AuditLogStore for SqlAuditLogStore {
    async fn append(&self, entries: &[AuditLogEntry]) -> Result<()> {
        let added: QueryResult<()> = match &*self.db {
            BackendConnections::Postgres(PostgresConnections { pool, .. }) => {
                query!(@postgres pool, POSTGRES_CONFIG, |conn| {
                    diesel::sql_query(APPEND_SQL)
                        .bind::<Array<BigInt>, _>(column_values(entries, |entry| entry.id.at.as_micros()))
                        .bind::<Array<BigInt>, _>(column_values(entries, |entry| entry.id.source))
                        .bind::<Array<BigInt>, _>(column_values(entries, |entry| entry.id.seq))
                        .bind::<Array<Text>, _>(column_values(entries, |entry| entry.action.as_ref()))
                        .bind::<Array<Nullable<Text>>, _>(column_values(entries, |entry| entry.proof.as_deref()))
                        .bind::<Array<Nullable<Text>>, _>(column_values(entries, |entry| entry.purpose.as_deref()))
                        .bind::<Array<Text>, _>(column_values(entries, |entry| entry.result.as_ref()))
                        .bind::<Array<BigInt>, _>(column_values(entries, |entry| entry.count))
                        .bind::<Array<Nullable<Text>>, _>(column_values(entries, |entry| entry.dialect.as_deref()))
                        .bind::<Array<Nullable<Text>>, _>(column_values(entries, |entry| entry.app.as_deref()))
                        .bind::<Array<Nullable<Text>>, _>(column_values(entries, |entry| entry.subject_kind.as_deref()))
                        .bind::<Array<Nullable<Text>>, _>(column_values(entries, |entry| entry.subject.as_deref()))
                        .bind::<Array<Nullable<Text>>, _>(column_values(entries, |entry| entry.address.as_deref()))
                        .bind::<Array<Nullable<Text>>, _>(column_values(entries, |entry| entry.request.as_deref()))
                        .bind::<Array<Nullable<Text>>, _>(column_values(entries, |entry| entry.operator.as_deref()))
                        .bind::<Array<Nullable<BigInt>>, _>(column_values(entries, |entry| {
                            entry.first_at.map(Timestamp::as_micros)
                        }))
                        .bind::<Array<Nullable<BigInt>>, _>(column_values(entries, |entry| entry.origins))
                        .execute(conn)
                        .await
                        .map(drop)
                })
            }
            BackendConnections::Sqlite(sqlite) => {
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
        let rows: QueryResult<Vec<AuditRow>> = query!(self.db, Read, SLOW_QUERY_CONFIG, |conn| {
            let mut found = filtered!(&filter).limit(limit.into());
            let from = after.map(|AuditLogEntryId { at, source, seq }| (at.as_micros(), source, seq));
            found = match order {
                AuditLogOrder::OldestFirst => found.order((audit::at, audit::source, audit::seq)),
                AuditLogOrder::NewestFirst => found.order((audit::at.desc(), audit::source.desc(), audit::seq.desc())),
            };
            if let Some((at, source, seq)) = from {
                // The first condition is what the index is searched by.
                found = match order {
                    AuditLogOrder::OldestFirst => found.filter(audit::at.ge(at)).filter(
                        audit::at
                            .gt(at)
                            .or(audit::source.gt(source).or(audit::source.eq(source).and(audit::seq.gt(seq)))),
                    ),
                    AuditLogOrder::NewestFirst => found.filter(audit::at.le(at)).filter(
                        audit::at
                            .lt(at)
                            .or(audit::source.lt(source).or(audit::source.eq(source).and(audit::seq.lt(seq)))),
                    ),
                };
            }
            found.load::<AuditRow>(conn).await
        });
        Ok(rows.map_err(map_database_error)?.into_iter().map(AuditLogEntry::from).collect())
    }

    async fn delete_before(&self, before: Timestamp, limit: u32) -> Result<u64> {
        let gone: QueryResult<usize> = query!(self.db, Write, SLOW_QUERY_CONFIG, |conn| {
            async {
                // The last of the oldest: what is not after it goes, and what has the same instant with it.
                let old = audit::table.filter(audit::at.lt(before.as_micros()));
                let last = old.order(audit::at).offset(i64::from(limit.max(1)) - 1).select(audit::at);
                let last = last.first::<i64>(conn).await.optional()?.unwrap_or(before.as_micros() - 1);
                diesel::delete(audit::table.filter(audit::at.le(last))).execute(conn).await
            }
            .await
        });
        u64::try_from(gone.map_err(map_database_error)?).map_err(Error::internal)
    }
}
