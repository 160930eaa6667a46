//! Writes a batch on PostgreSQL: one statement a table, from arrays.

use std::collections::HashMap;

use diesel::dsl::case_when;
use diesel::pg::Pg;
use diesel::query_builder::{BoxedSqlQuery, SqlQuery};
use diesel::result::Error as DbError;
use diesel::sql_types::{Array, BigInt, Binary, Bool, Nullable, SmallInt, Text};
use diesel::{ExpressionMethods, IntoSql, QueryDsl, QueryResult, QueryableByName};
use diesel_async::AsyncPgConnection;
use stele_core::verifier::NO_PASSWORD;

use super::{BatchError, NewRow, OldIdRow, Rows, fill_in, set_missing_password};
use crate::users::legacy_user_store::if_empty;
use crate::users::schema::users;
use crate::users::user_store::first_text;

type Statement = BoxedSqlQuery<'static, Pg, SqlQuery>;

/// The number that a new user got.
#[derive(QueryableByName)]
struct NumberedId {
    #[diesel(sql_type = BigInt)]
    number: i64,
    #[diesel(sql_type = Binary)]
    id: Vec<u8>,
}

/// Users without a number of their own get the next one of the sequence.
const INSERT_USERS: &str = "\
    INSERT INTO users (number, id, name, phone, email, registered_through, registered_at, alias_id, role, disabled, real_name, \
    gender, nickname, avatar_url, enterprise, group_name, organization, department, description, org_id, memo, verifier, \
    seal_key_id, sealed, epoch) \
    SELECT coalesce(new.number, nextval('users_number_seq')), new.id, new.name, new.phone, new.email, \
    new.registered_through, new.registered_at, new.alias_id, new.role, new.disabled, new.real_name, new.gender, \
    new.nickname, new.avatar_url, new.enterprise, new.group_name, new.organization, new.department, new.description, \
    new.org_id, new.memo, new.verifier, new.seal_key_id, new.sealed, 0 \
    FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, \
    $23, $24) AS new (number, id, name, phone, email, registered_through, registered_at, alias_id, role, disabled, \
    real_name, gender, nickname, avatar_url, enterprise, group_name, organization, department, description, org_id, \
    memo, verifier, seal_key_id, sealed) RETURNING number, id";
const INSERT_KEYS: &str = "INSERT INTO identifiers (key, number) SELECT * FROM unnest($1, $2)";
const INSERT_OLD_IDS: &str = "\
    INSERT INTO legacy_ids (source, run, id, number, position, content, merged, dialect, key, answer, old_number, \
    derived_number) SELECT $1, $2, * FROM unnest($3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
/// The decoy row's legacy id in a dialect, so that an unknown user costs the same there as an imported one (ADR 26).
const INSERT_DECOY: &str = "\
    INSERT INTO legacy_ids (source, id, number, run, position, content, merged, dialect, key) \
    SELECT '{decoy}', $1, number, 0, 0, '\\x', FALSE, $1, '{decoy}' FROM users WHERE number = 0 ON CONFLICT DO NOTHING";
const INSERT_ROWS: &str = "\
    INSERT INTO import_rows (run, position, line, old_id, outcome, refusal) \
    SELECT $1, * FROM unnest($2, $3, $4, $5, $6) \
    ON CONFLICT (run, position) DO UPDATE SET \
    line = excluded.line, old_id = excluded.old_id, outcome = excluded.outcome, refusal = excluded.refusal";

/// One column of rows, as an array.
macro_rules! column {
    ($rows:expr, $($field:tt).+) => {
        $rows.iter().map(|row| row.$($field).+.clone()).collect::<Vec<_>>()
    };
}

fn sql(text: &'static str) -> Statement {
    diesel::sql_query(text).into_boxed::<Pg>()
}

/// The sequence may be this far behind the numbers to be reserved, and still be advanced one by one.
const MAX_SINGLE_STEPS: i64 = 1_000;

#[derive(QueryableByName)]
struct LastNumber {
    #[diesel(sql_type = BigInt)]
    last: i64,
}

/// Advances the sequence of user numbers to `reserved`. Other processes draw numbers meanwhile, so the sequence must not
/// be set to a number that they may have passed: the last numbers are drawn one by one.
async fn reserve_numbers(conn: &mut AsyncPgConnection, reserved: i64) -> QueryResult<()> {
    use diesel_async::RunQueryDsl as _;
    let last = sql("SELECT coalesce(pg_sequence_last_value('users_number_seq'), 0) AS last");
    let missing = reserved - last.get_result::<LastNumber>(conn).await?.last;
    let advance = match missing {
        ..=0 => return Ok(()),
        1..=MAX_SINGLE_STEPS => {
            sql("SELECT max(nextval('users_number_seq')) FROM generate_series(1, $1)").bind::<BigInt, _>(missing)
        }
        _ => sql("SELECT setval('users_number_seq', $1)").bind::<BigInt, _>(reserved),
    };
    advance.execute(conn).await.map(drop)
}

pub(super) async fn write_postgres(conn: &mut AsyncPgConnection, rows: &Rows) -> Result<(), BatchError> {
    use diesel_async::RunQueryDsl as _;
    if let Some(reserved) = rows.reserved_number {
        reserve_numbers(conn, reserved).await?;
    }
    if let Some(dialect) = &rows.dialect {
        sql(INSERT_DECOY).bind::<Text, _>(dialect.clone()).execute(conn).await?;
    }
    let (mut keys, mut old_ids) = (Vec::new(), Vec::new());
    if !rows.added.is_empty() {
        let numbers: Vec<NumberedId> = insert_users(&rows.added).load(conn).await?;
        let numbers: HashMap<Vec<u8>, i64> = numbers.into_iter().map(|row| (row.id, row.number)).collect();
        for new in &rows.added {
            let missing = || BatchError::Database(DbError::NotFound);
            let number = *numbers.get(&new.row.id).ok_or_else(missing)?;
            keys.extend(new.keys.iter().map(|key| (key.clone(), number)));
            old_ids.push((&new.old_id, number));
        }
    }
    for (merger, new) in &rows.merged {
        if fill_in!(merger, new.row).execute(conn).await? == 0 {
            return Err(BatchError::Conflict);
        }
        if !merger.has_password {
            set_missing_password!(merger, new).execute(conn).await?;
        }
        keys.extend(merger.new_keys.iter().map(|key| (key.clone(), merger.number)));
        old_ids.push((&new.old_id, merger.number));
    }
    if !keys.is_empty() {
        // In a fixed order, so that two batches with the same keys do not deadlock.
        keys.sort_unstable();
        let (keys, numbers): (Vec<String>, Vec<i64>) = keys.into_iter().unzip();
        let insert = sql(INSERT_KEYS).bind::<Array<Text>, _>(keys).bind::<Array<BigInt>, _>(numbers);
        insert.execute(conn).await?;
    }
    if !old_ids.is_empty() {
        insert_old_ids(rows, &old_ids).execute(conn).await?;
    }
    insert_outcomes(rows).execute(conn).await?;
    Ok(())
}

fn insert_users(added: &[NewRow]) -> Statement {
    type NullableTexts = Array<Nullable<Text>>;
    type Texts = Array<Text>;
    sql(INSERT_USERS)
        .bind::<Array<Nullable<BigInt>>, _>(column!(added, number))
        .bind::<Array<Binary>, _>(column!(added, row.id))
        .bind::<NullableTexts, _>(column!(added, row.name))
        .bind::<NullableTexts, _>(column!(added, row.phone))
        .bind::<NullableTexts, _>(column!(added, row.email))
        .bind::<Texts, _>(column!(added, row.registered_through))
        .bind::<Array<BigInt>, _>(column!(added, row.registered_at))
        .bind::<Texts, _>(column!(added, row.alias_id))
        .bind::<Array<SmallInt>, _>(column!(added, row.role))
        .bind::<Array<Bool>, _>(column!(added, row.disabled))
        .bind::<Texts, _>(column!(added, row.real_name))
        .bind::<NullableTexts, _>(column!(added, row.gender))
        .bind::<Texts, _>(column!(added, row.nickname))
        .bind::<Texts, _>(column!(added, row.avatar_url))
        .bind::<Texts, _>(column!(added, row.enterprise))
        .bind::<Texts, _>(column!(added, row.group_name))
        .bind::<Texts, _>(column!(added, row.organization))
        .bind::<Texts, _>(column!(added, row.department))
        .bind::<Texts, _>(column!(added, row.description))
        .bind::<Texts, _>(column!(added, row.org_id))
        .bind::<Texts, _>(column!(added, row.memo))
        .bind::<Texts, _>(column!(added, verifier))
        .bind::<Array<Nullable<BigInt>>, _>(column!(added, seal_key_id))
        .bind::<Array<Nullable<Binary>>, _>(column!(added, sealed))
}

fn insert_old_ids(rows: &Rows, old_ids: &[(&OldIdRow, i64)]) -> Statement {
    sql(INSERT_OLD_IDS)
        .bind::<Text, _>(rows.source.clone())
        .bind::<BigInt, _>(rows.run)
        .bind::<Array<Text>, _>(column!(old_ids, 0.id))
        .bind::<Array<BigInt>, _>(column!(old_ids, 1))
        .bind::<Array<BigInt>, _>(column!(old_ids, 0.position))
        .bind::<Array<Binary>, _>(column!(old_ids, 0.content))
        .bind::<Array<Bool>, _>(column!(old_ids, 0.merged))
        .bind::<Array<Nullable<Text>>, _>(column!(old_ids, 0.dialect))
        .bind::<Array<Nullable<Text>>, _>(column!(old_ids, 0.key))
        .bind::<Array<Nullable<Text>>, _>(column!(old_ids, 0.answer))
        .bind::<Array<Nullable<BigInt>>, _>(column!(old_ids, 0.old_number))
        .bind::<Array<Nullable<BigInt>>, _>(column!(old_ids, 0.derived_number))
}

fn insert_outcomes(rows: &Rows) -> Statement {
    let outcomes = &rows.outcomes;
    sql(INSERT_ROWS)
        .bind::<BigInt, _>(rows.run)
        .bind::<Array<BigInt>, _>(column!(outcomes, position))
        .bind::<Array<Nullable<BigInt>>, _>(column!(outcomes, line))
        .bind::<Array<Text>, _>(column!(outcomes, old_id))
        .bind::<Array<SmallInt>, _>(column!(outcomes, outcome))
        .bind::<Array<Nullable<Text>>, _>(column!(outcomes, refusal))
}
