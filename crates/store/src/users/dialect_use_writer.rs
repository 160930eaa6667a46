//! Counts uses of dialects in the transaction that writes the audit log.
//!
//! A user's row is written at the first use of a day and at most once an hour after that, so that a login of the same
//! user costs a lookup in the batch (ADR 61).

use std::collections::BTreeMap;

use diesel::pg::sql_types::Array;
use diesel::sql_types::{BigInt, Binary, Text};
use diesel::upsert::excluded;
use diesel::{ExpressionMethods, OptionalExtension, QueryDsl, QueryResult, SqliteConnection};
use diesel_async::AsyncPgConnection;
use stele_core::audit_log::AuditLogEntry;
use stele_core::dialect_use::{DayCount, UserActivity, UtcDay};
use stele_core::session::DialectName;
use stele_core::time::Timestamp;
use stele_core::user::UserId;

use super::schema::{door_use, user_door};

/// One user's row, in the order of the primary key: concurrent batches lock rows in this order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct UserKey<'a> {
    dialect: DialectName,
    user: UserId,
    client: &'a str,
    proof: &'static str,
}

/// Uses of one day.
#[derive(Clone, Copy)]
struct Uses {
    logins: i64,
    first_at: Timestamp,
    last_at: Timestamp,
}

impl Uses {
    fn plus(self, other: Self) -> Self {
        Self {
            logins: self.logins + other.logins,
            first_at: self.first_at.min(other.first_at),
            last_at: self.last_at.max(other.last_at),
        }
    }
}

/// The uses of a batch by day and user.
pub(super) struct FoldedUses<'a>(BTreeMap<UtcDay, BTreeMap<UserKey<'a>, Uses>>);

impl<'a> FoldedUses<'a> {
    pub(super) fn of(entries: impl IntoIterator<Item = &'a AuditLogEntry>) -> Self {
        let mut days: BTreeMap<UtcDay, BTreeMap<UserKey<'a>, Uses>> = BTreeMap::new();
        for entry in entries {
            let Some(dialect_use) = &entry.dialect_use else { continue };
            let key = UserKey {
                dialect: dialect_use.dialect,
                user: dialect_use.user,
                client: dialect_use.client.as_str(),
                proof: dialect_use.proof,
            };
            let uses = Uses { logins: 1, first_at: entry.id.at, last_at: entry.id.at };
            let of_day = days.entry(UtcDay::of(entry.id.at)).or_default();
            of_day.entry(key).and_modify(|sum| *sum = sum.plus(uses)).or_insert(uses);
        }
        Self(days)
    }
}

/// The condition that the user's row `d` was counted for the day `$1`: [`UserActivity::with_uses`] in SQL.
const IS_COUNTED: &str =
    "(d.last_day - $1 > 62 OR (d.last_day >= $1 AND ((d.days >> (d.last_day - $1)::int) & 1) = 1))";

/// Counts the uses of one day. The users' rows are found by a subquery for each use, and written by `ON CONFLICT`: a join
/// would read the whole table if the planner's statistics are old, and the audit log waits for this statement.
/// `first_uses` and `refreshed` write different rows, because `found` decides by the statement's snapshot; where another
/// transaction was faster, the condition of `ON CONFLICT` decides. Both lock rows in the order of the key.
fn record_sql() -> String {
    format!(
        "WITH uses AS MATERIALIZED (SELECT * FROM unnest($2, $3, $4, $5, $6, $7, $8) \
           AS uses (dialect, user_id, client, proof, logins, first_at, last_at)), \
         found AS MATERIALIZED (SELECT uses.*, ( \
           SELECT CASE WHEN NOT {IS_COUNTED} THEN 'first' WHEN d.last_at < uses.last_at - $9 THEN 'stale' ELSE 'known' END \
           FROM user_door AS d WHERE d.dialect = uses.dialect AND d.user_id = uses.user_id \
             AND d.client = uses.client AND d.proof = uses.proof) AS state FROM uses), \
         first_uses AS ( \
           INSERT INTO user_door AS d (dialect, user_id, client, proof, first_at, last_at, last_day, days) \
           SELECT dialect, user_id, client, proof, first_at, last_at, $1, 1 FROM found \
           WHERE state IS NULL OR state = 'first' ORDER BY dialect, user_id, client, proof \
           ON CONFLICT (dialect, user_id, client, proof) DO UPDATE SET \
             first_at = least(d.first_at, excluded.first_at), \
             last_at = greatest(d.last_at, excluded.last_at), \
             last_day = greatest(d.last_day, excluded.last_day), \
             days = CASE \
               WHEN d.last_day >= excluded.last_day \
                 THEN d.days | (1::bigint << (d.last_day - excluded.last_day)::int) \
               WHEN excluded.last_day - d.last_day <= 62 \
                 THEN ((d.days << (excluded.last_day - d.last_day)::int) & 9223372036854775807) | 1 \
               ELSE 1 END \
           WHERE NOT {IS_COUNTED} \
           RETURNING dialect, client, proof), \
         refreshed AS ( \
           INSERT INTO user_door AS d (dialect, user_id, client, proof, first_at, last_at, last_day, days) \
           SELECT dialect, user_id, client, proof, first_at, last_at, $1, 1 FROM found \
           WHERE state = 'stale' ORDER BY dialect, user_id, client, proof \
           ON CONFLICT (dialect, user_id, client, proof) DO UPDATE SET last_at = greatest(d.last_at, excluded.last_at)) \
         INSERT INTO door_use AS d (day, dialect, client, proof, logins, users, first_at, last_at) \
         SELECT $1, dialect, client, proof, sum(logins)::bigint, \
           (SELECT count(*) FROM first_uses AS f WHERE f.dialect = uses.dialect AND f.client = uses.client \
             AND f.proof = uses.proof), min(first_at), max(last_at) \
         FROM uses GROUP BY dialect, client, proof ORDER BY dialect, client, proof \
         ON CONFLICT (day, dialect, client, proof) DO UPDATE SET \
           logins = d.logins + excluded.logins, users = d.users + excluded.users, \
           first_at = least(d.first_at, excluded.first_at), last_at = greatest(d.last_at, excluded.last_at)"
    )
}

/// Counts the uses in PostgreSQL, in the caller's transaction: one statement for each day.
pub(super) async fn record_uses_postgres(conn: &mut AsyncPgConnection, folded: &FoldedUses<'_>) -> QueryResult<()> {
    for (day, uses) in &folded.0 {
        let statement = diesel::sql_query(record_sql())
            .bind::<BigInt, _>(day.number())
            .bind::<Array<Text>, _>(uses.keys().map(|key| key.dialect).collect::<Vec<_>>())
            .bind::<Array<Binary>, _>(uses.keys().map(|key| key.user.as_bytes().to_vec()).collect::<Vec<_>>())
            .bind::<Array<Text>, _>(uses.keys().map(|key| key.client).collect::<Vec<_>>())
            .bind::<Array<Text>, _>(uses.keys().map(|key| key.proof).collect::<Vec<_>>())
            .bind::<Array<BigInt>, _>(uses.values().map(|uses| uses.logins).collect::<Vec<_>>())
            .bind::<Array<BigInt>, _>(uses.values().map(|uses| uses.first_at.as_micros()).collect::<Vec<_>>())
            .bind::<Array<BigInt>, _>(uses.values().map(|uses| uses.last_at.as_micros()).collect::<Vec<_>>())
            .bind::<BigInt, _>(LAST_USE_PRECISION_MICROS);
        diesel_async::RunQueryDsl::execute(statement, conn).await?;
    }
    Ok(())
}

/// [`stele_core::dialect_use::LAST_USE_PRECISION`] in microseconds.
const LAST_USE_PRECISION_MICROS: i64 = stele_core::dialect_use::LAST_USE_PRECISION.as_secs() as i64 * 1_000_000;

/// Counts the uses in SQLite, in the caller's transaction.
pub(super) fn record_uses_sqlite(conn: &mut SqliteConnection, folded: &FoldedUses<'_>) -> QueryResult<()> {
    for (day, uses) in &folded.0 {
        let mut sums: BTreeMap<(DialectName, &str, &str), (Uses, i64)> = BTreeMap::new();
        for (key, uses) in uses {
            let users = match record_user(conn, *key, *day, *uses)? {
                DayCount::First => 1,
                DayCount::Repeated => 0,
            };
            let sum = sums.entry((key.dialect, key.client, key.proof));
            sum.and_modify(|(sum, sum_of_users)| {
                *sum = sum.plus(*uses);
                *sum_of_users += users;
            })
            .or_insert((*uses, users));
        }
        for ((dialect, client, proof), (uses, users)) in sums {
            let row = (
                door_use::day.eq(day.number()),
                door_use::dialect.eq(dialect),
                door_use::client.eq(client),
                door_use::proof.eq(proof),
                door_use::logins.eq(uses.logins),
                door_use::users.eq(users),
                door_use::first_at.eq(uses.first_at.as_micros()),
                door_use::last_at.eq(uses.last_at.as_micros()),
            );
            let key = (door_use::day, door_use::dialect, door_use::client, door_use::proof);
            let sum = (
                door_use::logins.eq(door_use::logins + excluded(door_use::logins)),
                door_use::users.eq(door_use::users + excluded(door_use::users)),
                door_use::first_at.eq(min_of(door_use::first_at, excluded(door_use::first_at))),
                door_use::last_at.eq(max_of(door_use::last_at, excluded(door_use::last_at))),
            );
            let upsert = diesel::insert_into(door_use::table).values(row).on_conflict(key).do_update().set(sum);
            diesel::RunQueryDsl::execute(upsert, conn)?;
        }
    }
    Ok(())
}

/// Adds one user's uses on `day` to the user's row.
fn record_user(
    conn: &mut SqliteConnection,
    key: UserKey<'_>,
    day: UtcDay,
    Uses { first_at, last_at, .. }: Uses,
) -> QueryResult<DayCount> {
    let row = user_door::table.find((key.dialect, key.user.as_bytes().as_slice(), key.client, key.proof));
    let columns = (user_door::first_at, user_door::last_at, user_door::last_day, user_door::days);
    let found = diesel::RunQueryDsl::first::<(i64, i64, i64, i64)>(row.select(columns), conn).optional()?;
    let values = |activity: UserActivity| {
        (
            user_door::first_at.eq(activity.first_at.as_micros()),
            user_door::last_at.eq(activity.last_at.as_micros()),
            user_door::last_day.eq(activity.last_day.number()),
            user_door::days.eq(activity.days),
        )
    };
    let Some((known_first, known_last, last_day, days)) = found else {
        let key = (
            user_door::dialect.eq(key.dialect),
            user_door::user_id.eq(key.user.as_bytes().as_slice()),
            user_door::client.eq(key.client),
            user_door::proof.eq(key.proof),
        );
        let new = (key, values(UserActivity::new(day, first_at, last_at)));
        diesel::RunQueryDsl::execute(diesel::insert_into(user_door::table).values(new), conn)?;
        return Ok(DayCount::First);
    };
    let known = UserActivity {
        first_at: Timestamp::from_micros(known_first),
        last_at: Timestamp::from_micros(known_last),
        last_day: UtcDay::from_number(last_day),
        days,
    };
    let (count, changed) = known.with_uses(day, first_at, last_at);
    if let Some(changed) = changed {
        diesel::RunQueryDsl::execute(diesel::update(row).set(values(changed)), conn)?;
    }
    Ok(count)
}

diesel::define_sql_function! {
    /// SQLite's `min` of two values.
    #[sql_name = "min"]
    fn min_of(a: BigInt, b: BigInt) -> BigInt;
}

diesel::define_sql_function! {
    /// SQLite's `max` of two values.
    #[sql_name = "max"]
    fn max_of(a: BigInt, b: BigInt) -> BigInt;
}
