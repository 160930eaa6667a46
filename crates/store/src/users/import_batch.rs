//! Writes a batch of an import in one transaction, with the cursor of its run. On PostgreSQL each table gets one
//! statement a batch, from arrays; on SQLite, where a statement costs microseconds, one a row.

use std::collections::HashMap;

use diesel::dsl::case_when;
use diesel::pg::Pg;
use diesel::query_builder::{BoxedSqlQuery, SqlQuery};
use diesel::result::{DatabaseErrorKind, Error as DbError};
use diesel::sql_types::{Array, BigInt, Binary, Bool, Nullable, SmallInt, Text};
use diesel::{ExpressionMethods, IntoSql, QueryDsl, QueryResult, QueryableByName, SqliteConnection};
use diesel_async::{AsyncConnection as _, AsyncPgConnection};
use stele_core::import::Merger;
use stele_core::ports::{AddedRow, CommitOutcome, ImportBatch, MergedRow};
use stele_core::verifier::NO_PASSWORD;
use stele_core::{Error, Result};

use super::import_store::{encode_outcome, to_i64};
use super::pool::{BackendConnections, SLOW_QUERY_TIMEOUTS, query};
use super::rows::{UserRow, encode_sealed_digest};
use super::schema::{identifiers, import_rows, import_runs, legacy_ids, users};
use crate::error::map_database_error;

type Statement = BoxedSqlQuery<'static, Pg, SqlQuery>;

/// Why a batch is not written.
enum BatchError {
    CursorMoved,
    /// An identifier, an id or an old id was taken, or a user to join was removed, after the lookup.
    Conflict,
    Database(DbError),
}

impl From<DbError> for BatchError {
    fn from(error: DbError) -> Self {
        match error {
            DbError::DatabaseError(DatabaseErrorKind::UniqueViolation, _) => Self::Conflict,
            other => Self::Database(other),
        }
    }
}

diesel::define_sql_function! {
    #[sql_name = "coalesce"]
    fn first_text(value: Nullable<Text>, otherwise: Nullable<Text>) -> Nullable<Text>;
}

/// The statement that moves the cursor of the run, if no other process has moved it.
macro_rules! move_cursor {
    ($rows:expr) => {{
        let [added, same, merged, refused] = $rows.counts;
        let [checked, common, other] = $rows.passwords;
        let run = import_runs::table.find($rows.run).filter(import_runs::cursor.eq($rows.cursor));
        diesel::update(run).set((
            import_runs::cursor.eq($rows.next_cursor),
            import_runs::updated_at.eq($rows.now),
            import_runs::added.eq(import_runs::added + added),
            import_runs::same.eq(import_runs::same + same),
            import_runs::merged.eq(import_runs::merged + merged),
            import_runs::refused.eq(import_runs::refused + refused),
            import_runs::passwords_looked_up.eq(import_runs::passwords_looked_up + checked),
            import_runs::common_passwords.eq(import_runs::common_passwords + common),
            import_runs::other_hashes.eq(import_runs::other_hashes + other),
        ))
    }};
}

/// A text of the profile that is set only where the user has none.
macro_rules! or_existing {
    ($row:expr, $($field:ident),*) => {
        ($(users::$field.eq(case_when(users::$field.eq(""), $row.$field.as_str().into_sql::<Text>()).otherwise(users::$field)),)*)
    };
}

/// The statement that fills in what a joined user lacks.
macro_rules! fill_in {
    ($merger:expr, $row:expr) => {
        diesel::update(users::table.find($merger.number)).set((
            users::name.eq(first_text(users::name, &$row.name)),
            users::phone.eq(first_text(users::phone, &$row.phone)),
            users::email.eq(first_text(users::email, &$row.email)),
            users::gender.eq(first_text(users::gender, &$row.gender)),
            or_existing!(
                $row,
                real_name,
                nickname,
                avatar_url,
                enterprise,
                group_name,
                organization,
                department,
                description,
                org_id,
                memo
            ),
        ))
    };
}

/// The statement that gives the row's password to a joined user who has none.
macro_rules! set_missing_password {
    ($merger:expr, $new:expr) => {
        diesel::update(users::table.find($merger.number).filter(users::verifier.eq(NO_PASSWORD))).set((
            users::verifier.eq(&$new.verifier),
            users::seal_key_id.eq($new.seal_key_id),
            users::sealed.eq(&$new.sealed),
        ))
    };
}

/// A new user as it is written.
struct NewRow {
    row: UserRow,
    verifier: String,
    seal_key_id: Option<i64>,
    sealed: Option<Vec<u8>>,
    keys: Vec<String>,
    old_id: OldIdRow,
}

/// A row of `legacy_ids` without its user.
#[derive(Clone)]
struct OldIdRow {
    id: String,
    position: i64,
    content: Vec<u8>,
    merged: bool,
}

/// The batch as it is written.
struct Rows {
    run: i64,
    source: String,
    cursor: i64,
    next_cursor: i64,
    now: i64,
    counts: [i64; 4],
    passwords: [i64; 3],
    added: Vec<NewRow>,
    merged: Vec<(Merger, NewRow)>,
    outcomes: Vec<OutcomeRow>,
}

/// A row of `import_rows` without its run.
struct OutcomeRow {
    position: i64,
    line: Option<i64>,
    old_id: String,
    outcome: i16,
    refusal: Option<String>,
}

impl Rows {
    fn new(batch: &ImportBatch) -> Self {
        let (counts, passwords) = (batch.counts, batch.passwords);
        let outcomes = batch.rows.iter().map(|row| {
            let (outcome, refusal) = encode_outcome(row.outcome);
            let (position, line) = (to_i64(row.position), row.line.map(to_i64));
            OutcomeRow { position, line, old_id: without_nul(&row.old_id), outcome, refusal }
        });
        let merged = batch.merged.iter().map(|MergedRow { merger, row }| (merger.clone(), new_row(row, true)));
        Self {
            run: batch.run,
            source: batch.source.as_str().to_owned(),
            cursor: to_i64(batch.cursor),
            next_cursor: to_i64(batch.next_cursor),
            now: batch.now.as_micros(),
            counts: [counts.added, counts.same, counts.merged, counts.refused].map(to_i64),
            passwords: [passwords.checked, passwords.common, passwords.not_checked].map(to_i64),
            added: batch.added.iter().map(|row| new_row(row, false)).collect(),
            merged: merged.collect(),
            outcomes: outcomes.collect(),
        }
    }
}

fn new_row(added: &AddedRow, merged: bool) -> NewRow {
    let AddedRow { user, status, old_id, content, position } = added;
    let (seal_key_id, sealed) = encode_sealed_digest(&user.credential);
    NewRow {
        row: UserRow::new(user).with_status(*status),
        verifier: user.credential.verifier.clone(),
        seal_key_id,
        sealed,
        keys: user.identifier_keys().into_iter().map(str::to_owned).collect(),
        old_id: OldIdRow { id: old_id.clone(), position: to_i64(*position), content: content.0.to_vec(), merged },
    }
}

/// An old id of a refused row may have a NUL, which PostgreSQL rejects.
fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// Writes a batch, or nothing of it.
pub(super) async fn write(db: &BackendConnections, batch: &ImportBatch) -> Result<CommitOutcome> {
    if batch
        .added
        .iter()
        .chain(batch.merged.iter().map(|merged| &merged.row))
        .any(|row| UserRow::new(&row.user).has_nul())
    {
        return Err(Error::Invalid("profile"));
    }
    let rows = Rows::new(batch);
    let written = match db {
        BackendConnections::Postgres(postgres) => query!(@postgres postgres.pool, SLOW_QUERY_TIMEOUTS, |conn| {
            let written = conn.transaction(async |conn| {
                if move_cursor!(rows).execute(conn).await? == 0 {
                    return Err(BatchError::CursorMoved);
                }
                write_postgres(conn, &rows).await
            });
            commit_outcome(written.await)
        }),
        BackendConnections::Sqlite(sqlite) => {
            // A job that fails is rolled back, and reports only database errors.
            let work = move |conn: &mut SqliteConnection| match commit_outcome(write_sqlite(conn, &rows)) {
                Ok(CommitOutcome::Conflict) => Err(DbError::RollbackTransaction),
                outcome => outcome,
            };
            match sqlite.run(crate::sqlite::thread::Access::Write, work).await? {
                Err(DbError::RollbackTransaction) => Ok(CommitOutcome::Conflict),
                outcome => outcome,
            }
        }
    };
    written.map_err(map_database_error)
}

fn commit_outcome(written: Result<(), BatchError>) -> QueryResult<CommitOutcome> {
    match written {
        Ok(()) => Ok(CommitOutcome::Written),
        Err(BatchError::CursorMoved) => Ok(CommitOutcome::CursorMoved),
        Err(BatchError::Conflict) => Ok(CommitOutcome::Conflict),
        Err(BatchError::Database(error)) => Err(error),
    }
}

fn write_sqlite(conn: &mut SqliteConnection, rows: &Rows) -> Result<(), BatchError> {
    use diesel::RunQueryDsl as _;
    if move_cursor!(rows).execute(conn)? == 0 {
        return Err(BatchError::CursorMoved);
    }
    for new in &rows.added {
        let credential =
            (users::verifier.eq(&new.verifier), users::seal_key_id.eq(new.seal_key_id), users::sealed.eq(&new.sealed));
        let insert = diesel::insert_into(users::table).values((&new.row, credential, users::epoch.eq(0)));
        let number = insert.returning(users::number).get_result::<i64>(conn)?;
        insert_keys_sqlite(conn, &new.keys, number)?;
        insert_old_id_sqlite(conn, rows, &new.old_id, number)?;
    }
    for (merger, new) in &rows.merged {
        if fill_in!(merger, new.row).execute(conn)? == 0 {
            return Err(BatchError::Conflict);
        }
        if !merger.has_password {
            set_missing_password!(merger, new).execute(conn)?;
        }
        insert_keys_sqlite(conn, &merger.new_keys, merger.number)?;
        insert_old_id_sqlite(conn, rows, &new.old_id, merger.number)?;
    }
    for row in &rows.outcomes {
        let values = (
            import_rows::run.eq(rows.run),
            import_rows::position.eq(row.position),
            import_rows::line.eq(row.line),
            import_rows::old_id.eq(&row.old_id),
            import_rows::outcome.eq(row.outcome),
            import_rows::refusal.eq(&row.refusal),
        );
        diesel::replace_into(import_rows::table).values(values).execute(conn)?;
    }
    Ok(())
}

fn insert_keys_sqlite(conn: &mut SqliteConnection, keys: &[String], number: i64) -> QueryResult<()> {
    for key in keys {
        let row = (identifiers::key.eq(key), identifiers::number.eq(number));
        diesel::RunQueryDsl::execute(diesel::insert_into(identifiers::table).values(row), conn)?;
    }
    Ok(())
}

fn insert_old_id_sqlite(conn: &mut SqliteConnection, rows: &Rows, old: &OldIdRow, number: i64) -> QueryResult<usize> {
    let values = (
        legacy_ids::source.eq(&rows.source),
        legacy_ids::id.eq(&old.id),
        legacy_ids::number.eq(number),
        legacy_ids::run.eq(rows.run),
        legacy_ids::position.eq(old.position),
        legacy_ids::content.eq(&old.content),
        legacy_ids::merged.eq(old.merged),
    );
    diesel::RunQueryDsl::execute(diesel::insert_into(legacy_ids::table).values(values), conn)
}

/// The number that a new user got.
#[derive(QueryableByName)]
struct NumberedId {
    #[diesel(sql_type = BigInt)]
    number: i64,
    #[diesel(sql_type = Binary)]
    id: Vec<u8>,
}

const INSERT_USERS: &str = "\
    INSERT INTO users (id, name, phone, email, registered_through, registered_at, alias_id, role, disabled, real_name, \
    gender, nickname, avatar_url, enterprise, group_name, organization, department, description, org_id, memo, verifier, \
    seal_key_id, sealed, epoch) \
    SELECT *, 0 FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, \
    $21, $22, $23) RETURNING number, id";
const INSERT_KEYS: &str = "INSERT INTO identifiers (key, number) SELECT * FROM unnest($1, $2)";
const INSERT_OLD_IDS: &str = "\
    INSERT INTO legacy_ids (source, run, id, number, position, content, merged) \
    SELECT $1, $2, * FROM unnest($3, $4, $5, $6, $7)";
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

async fn write_postgres(conn: &mut AsyncPgConnection, rows: &Rows) -> Result<(), BatchError> {
    use diesel_async::RunQueryDsl as _;
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
