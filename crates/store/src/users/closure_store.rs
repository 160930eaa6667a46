//! Store of the closures of dialects: brown-outs and switch-offs.

use async_trait::async_trait;
use diesel::{
    BoolExpressionMethods, ExpressionMethods, NullableExpressionMethods, OptionalExtension, QueryDsl, QueryResult,
    Queryable,
};
use stele_core::dialect_closure::{ClosureKind, DialectClosure, NewClosure};
use stele_core::ports::ClosureStore;
use stele_core::time::Timestamp;
use stele_core::{Error, Result};

use super::pool::{query, transaction};
use super::schema::door_closures;
use super::user_store::SqlStore;
use crate::error::{corrupt_column_error, map_database_error};

/// A row of the table `door_closures`, with the columns in the order of the table.
#[derive(Queryable)]
struct ClosureRow {
    id: i64,
    kind: String,
    dialect: String,
    client: Option<String>,
    starts_at: i64,
    ends_at: Option<i64>,
    created_at: i64,
    operator: String,
    canceled_at: Option<i64>,
}

fn decode_closure(row: ClosureRow) -> QueryResult<DialectClosure> {
    let closure = NewClosure {
        kind: ClosureKind::parse(&row.kind).ok_or_else(|| corrupt_column_error("door_closures.kind"))?,
        dialect: row.dialect,
        client: row.client,
        starts_at: Timestamp::from_micros(row.starts_at),
        ends_at: row.ends_at.map(Timestamp::from_micros),
        created_at: Timestamp::from_micros(row.created_at),
        operator: row.operator,
    };
    Ok(DialectClosure { id: row.id, closure, canceled_at: row.canceled_at.map(Timestamp::from_micros) })
}

fn decode_closures(rows: QueryResult<Vec<ClosureRow>>) -> Result<Vec<DialectClosure>> {
    let closures = rows.and_then(|rows| rows.into_iter().map(decode_closure).collect::<QueryResult<_>>());
    closures.map_err(map_database_error)
}

/// The condition that a closure is scheduled at `$now`: it is neither canceled nor over.
macro_rules! is_scheduled {
    ($now:expr) => {
        door_closures::canceled_at
            .is_null()
            .and(door_closures::ends_at.is_null().or(door_closures::ends_at.assume_not_null().gt($now)))
    };
}

#[async_trait]
impl ClosureStore for SqlStore {
    async fn scheduled_closures(&self, now: Timestamp) -> Result<Vec<DialectClosure>> {
        let now = now.as_micros();
        decode_closures(query!(self.db, Read, |conn| {
            door_closures::table.filter(is_scheduled!(now)).order(door_closures::id).load(conn).await
        }))
    }

    async fn list_closures(&self, before: Option<i64>, limit: u32) -> Result<Vec<DialectClosure>> {
        let before = before.unwrap_or(i64::MAX);
        decode_closures(query!(self.db, Read, |conn| {
            let older = door_closures::table.filter(door_closures::id.lt(before));
            older.order(door_closures::id.desc()).limit(limit.into()).load(conn).await
        }))
    }

    async fn add_closure(&self, closure: &NewClosure, max_scheduled: usize) -> Result<Option<i64>> {
        let (closure, max_scheduled) = (closure.clone(), i64::try_from(max_scheduled).map_err(Error::internal)?);
        let added: QueryResult<Option<i64>> = transaction!(self.db, |conn| {
            let now = closure.created_at.as_micros();
            let scheduled: i64 = door_closures::table.filter(is_scheduled!(now)).count().get_result(conn).await?;
            if scheduled >= max_scheduled {
                return Ok(None);
            }
            let row = (
                door_closures::kind.eq(closure.kind.as_str()),
                door_closures::dialect.eq(&closure.dialect),
                door_closures::client.eq(&closure.client),
                door_closures::starts_at.eq(closure.starts_at.as_micros()),
                door_closures::ends_at.eq(closure.ends_at.map(Timestamp::as_micros)),
                door_closures::created_at.eq(now),
                door_closures::operator.eq(&closure.operator),
            );
            let insert = diesel::insert_into(door_closures::table).values(row).returning(door_closures::id);
            insert.get_result(conn).await.map(Some)
        });
        added.map_err(map_database_error)
    }

    async fn cancel_closure(&self, id: i64, now: Timestamp) -> Result<Option<DialectClosure>> {
        let now = now.as_micros();
        let canceled: QueryResult<Option<ClosureRow>> = query!(self.db, Write, |conn| {
            diesel::update(door_closures::table.find(id).filter(is_scheduled!(now)))
                .set(door_closures::canceled_at.eq(now))
                .returning(door_closures::all_columns)
                .get_result::<ClosureRow>(conn)
                .await
                .optional()
        });
        canceled.and_then(|row| row.map(decode_closure).transpose()).map_err(map_database_error)
    }
}
