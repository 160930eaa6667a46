//! Store of the use of dialects: reads and purges what the audit log's writer counts.

use async_trait::async_trait;
use diesel::dsl::{count, count_star, max, min};
use diesel::{
    AggregateExpressionMethods, BoolExpressionMethods, ExpressionMethods, JoinOnDsl, NullableExpressionMethods,
    OptionalExtension, QueryDsl, QueryResult,
};
use stele_core::dialect_use::{DailyUse, UseKind, UsePeriod, UserActivity, UserUse, UserUseCursor, UtcDay};
use stele_core::ports::DialectUseStore;
use stele_core::time::Timestamp;
use stele_core::user::UserId;
use stele_core::{Error, Result};

use super::pool::{SLOW_QUERY_TIMEOUTS, query, transaction};
use super::schema::{door_use, user_door, users};
use super::user_store::SqlStore;
use crate::error::{corrupt_column_error, map_database_error};

type KindColumns = (String, String, String);
type ActivityColumns = (i64, i64, i64, i64);
type UserRow = (Vec<u8>, Option<String>, Option<String>, Option<String>, String, String, ActivityColumns);

fn decode_kind((dialect, client, proof): KindColumns) -> UseKind {
    UseKind { dialect, client, proof }
}

fn to_u64(number: i64) -> Result<u64> {
    u64::try_from(number).map_err(Error::internal)
}

fn decode_user(dialect: &str, row: UserRow) -> QueryResult<UserUse> {
    let (id, name, phone, email, client, proof, (first_at, last_at, last_day, days)) = row;
    Ok(UserUse {
        user: UserId::from_bytes(id.try_into().map_err(|_| corrupt_column_error("user_door.user_id"))?),
        identifier: name.or(phone).or(email),
        kind: UseKind { dialect: dialect.to_owned(), client, proof },
        activity: UserActivity {
            first_at: Timestamp::from_micros(first_at),
            last_at: Timestamp::from_micros(last_at),
            last_day: UtcDay::from_number(last_day),
            days,
        },
    })
}

#[async_trait]
impl DialectUseStore for SqlStore {
    async fn daily_use(&self, since: UtcDay) -> Result<Vec<DailyUse>> {
        let rows: QueryResult<Vec<(i64, KindColumns, i64, i64)>> = query!(self.db, Read, SLOW_QUERY_TIMEOUTS, |conn| {
            let kind = (door_use::dialect, door_use::client, door_use::proof);
            door_use::table
                .filter(door_use::day.ge(since.number()))
                .order((door_use::day, door_use::dialect, door_use::client, door_use::proof))
                .select((door_use::day, kind, door_use::logins, door_use::users))
                .load(conn)
                .await
        });
        let decode = |(day, kind, logins, users)| {
            let day = UtcDay::from_number(day);
            Ok(DailyUse { day, kind: decode_kind(kind), logins: to_u64(logins)?, users: to_u64(users)? })
        };
        rows.map_err(map_database_error)?.into_iter().map(decode).collect()
    }

    async fn use_periods(&self) -> Result<Vec<UsePeriod>> {
        type Row = (KindColumns, Option<i64>, Option<i64>);
        let rows: QueryResult<Vec<Row>> = query!(self.db, Read, SLOW_QUERY_TIMEOUTS, |conn| {
            let kind = (door_use::dialect, door_use::client, door_use::proof);
            door_use::table
                .group_by((door_use::dialect, door_use::client, door_use::proof))
                .order((door_use::dialect, door_use::client, door_use::proof))
                .select((kind, min(door_use::first_at), max(door_use::last_at)))
                .load(conn)
                .await
        });
        let to_time = |micros: Option<i64>| Timestamp::from_micros(micros.unwrap_or_default());
        let decode = |(kind, first_at, last_at)| UsePeriod {
            kind: decode_kind(kind),
            first_at: to_time(first_at),
            last_at: to_time(last_at),
        };
        Ok(rows.map_err(map_database_error)?.into_iter().map(decode).collect())
    }

    async fn count_users_by_kind(&self, since: Timestamp) -> Result<Vec<(UseKind, u64)>> {
        let rows: QueryResult<Vec<(KindColumns, i64)>> = query!(self.db, Read, SLOW_QUERY_TIMEOUTS, |conn| {
            let kind = (user_door::dialect, user_door::client, user_door::proof);
            user_door::table
                .filter(user_door::last_at.ge(since.as_micros()))
                .group_by((user_door::dialect, user_door::client, user_door::proof))
                .order((user_door::dialect, user_door::client, user_door::proof))
                .select((kind, count_star()))
                .load(conn)
                .await
        });
        let decode = |(kind, count)| Ok((decode_kind(kind), to_u64(count)?));
        rows.map_err(map_database_error)?.into_iter().map(decode).collect()
    }

    async fn count_users(&self, dialect: &str, since: Timestamp) -> Result<u64> {
        let dialect = dialect.to_owned();
        let users = query!(self.db, Read, SLOW_QUERY_TIMEOUTS, |conn| {
            user_door::table
                .filter(user_door::dialect.eq(&dialect))
                .filter(user_door::last_at.ge(since.as_micros()))
                .select(count(user_door::user_id).aggregate_distinct())
                .first::<i64>(conn)
                .await
        });
        to_u64(users.map_err(map_database_error)?)
    }

    async fn count_user_rows(&self, dialect: &str, since: Timestamp) -> Result<u64> {
        let dialect = dialect.to_owned();
        let rows = query!(self.db, Read, SLOW_QUERY_TIMEOUTS, |conn| {
            user_door::table
                .filter(user_door::dialect.eq(&dialect))
                .filter(user_door::last_at.ge(since.as_micros()))
                .count()
                .get_result::<i64>(conn)
                .await
        });
        to_u64(rows.map_err(map_database_error)?)
    }

    async fn list_users(
        &self,
        dialect: &str,
        since: Timestamp,
        after: Option<&UserUseCursor>,
        limit: u32,
    ) -> Result<Vec<UserUse>> {
        let (of_dialect, after) = (dialect.to_owned(), after.cloned());
        let rows: QueryResult<Vec<UserRow>> = query!(self.db, Read, SLOW_QUERY_TIMEOUTS, |conn| {
            let identifiers = (users::name.nullable(), users::phone.nullable(), users::email.nullable());
            let activity = (user_door::first_at, user_door::last_at, user_door::last_day, user_door::days);
            let columns = (
                user_door::user_id,
                identifiers.0,
                identifiers.1,
                identifiers.2,
                user_door::client,
                user_door::proof,
                activity,
            );
            let mut query = user_door::table
                .left_join(users::table.on(users::id.eq(user_door::user_id)))
                .filter(user_door::dialect.eq(&of_dialect))
                .filter(user_door::last_at.ge(since.as_micros()))
                .order((
                    user_door::last_at.desc(),
                    user_door::user_id.desc(),
                    user_door::client.desc(),
                    user_door::proof.desc(),
                ))
                .limit(limit.into())
                .select(columns)
                .into_boxed();
            if let Some(UserUseCursor { last_at, user, client, proof }) = &after {
                let (last_at, user) = (last_at.as_micros(), user.as_bytes().as_slice());
                // Keyset pagination. The condition on `last_at` alone lets the database search the index.
                query = query.filter(user_door::last_at.le(last_at)).filter(
                    user_door::last_at.lt(last_at).or(user_door::user_id.lt(user)).or(user_door::user_id.eq(user).and(
                        user_door::client.lt(client).or(user_door::client.eq(client).and(user_door::proof.lt(proof))),
                    )),
                );
            }
            query.load(conn).await
        });
        let rows = rows.map_err(map_database_error)?.into_iter();
        rows.map(|row| decode_user(dialect, row)).collect::<QueryResult<_>>().map_err(map_database_error)
    }

    async fn delete_use_before(&self, day: UtcDay, limit: u32) -> Result<u64> {
        let deleted: QueryResult<usize> = transaction!(self.db, SLOW_QUERY_TIMEOUTS, |conn| {
            let dialects: Vec<String> = door_use::table.select(door_use::dialect).distinct().load(conn).await?;
            for dialect in dialects {
                let of_dialect = user_door::table.filter(user_door::dialect.eq(&dialect));
                let ended = of_dialect.filter(user_door::last_at.lt(day.start().as_micros()));
                let last = ended.order(user_door::last_at).offset(i64::from(limit.max(1)) - 1);
                // Rows with the time of the last row are all deleted, so that a batch may exceed `limit`.
                let last_at = last.select(user_door::last_at).first::<i64>(conn).await.optional()?;
                let last_at = last_at.unwrap_or(day.start().as_micros() - 1);
                match diesel::delete(of_dialect.filter(user_door::last_at.le(last_at))).execute(conn).await? {
                    0 => {}
                    deleted => return Ok(deleted),
                }
            }
            diesel::delete(door_use::table.filter(door_use::day.lt(day.number()))).execute(conn).await
        });
        u64::try_from(deleted.map_err(map_database_error)?).map_err(Error::internal)
    }
}
