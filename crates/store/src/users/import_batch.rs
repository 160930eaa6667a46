//! Writes a batch of an import in one transaction, with the cursor of its run. On PostgreSQL each table gets one
//! statement a batch, from arrays; on SQLite, where a statement costs microseconds, one a row.

mod postgres;

use diesel::dsl::case_when;
use diesel::result::{DatabaseErrorKind, Error as DbError};
use diesel::sql_types::{BigInt, Text};
use diesel::{ExpressionMethods, IntoSql, QueryDsl, QueryResult, SqliteConnection};
use diesel_async::AsyncConnection as _;
use stele_core::import::Merger;
use stele_core::ports::{AddedRow, CommitOutcome, ImportBatch, LegacyLookup, MergedRow};
use stele_core::verifier::NO_PASSWORD;
use stele_core::{Error, Result};

use super::import_store::{encode_outcome, to_i64};
use super::legacy_ids::pack_legacy_ids;
use super::legacy_user_store::if_empty;
use super::pool::{BackendConnections, SLOW_QUERY_TIMEOUTS, query};
use super::rows::{UserRow, encode_sealed_digest};
use super::schema::{identifiers, import_rows, import_runs, legacy_ids, users};
use super::user_store::first_text;
use crate::error::map_database_error;

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

/// The statement that fills in what a joined user lacks.
macro_rules! fill_in {
    ($merger:expr, $row:expr) => {
        diesel::update(users::table.find($merger.number)).set((
            users::name.eq(first_text(users::name, &$row.name)),
            users::phone.eq(first_text(users::phone, &$row.phone)),
            users::email.eq(first_text(users::email, &$row.email)),
            users::gender.eq(first_text(users::gender, &$row.gender)),
            if_empty!(
                $row,
                real_name = real_name,
                nickname = nickname,
                avatar_url = avatar_url,
                enterprise = enterprise,
                group_name = group_name,
                organization = organization,
                department = department,
                description = description,
                org_id = org_id,
                memo = memo
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

use {fill_in, set_missing_password};

/// A new user as it is written.
struct NewRow {
    number: Option<i64>,
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
    dialect: Option<String>,
    key: Option<String>,
    answer: Option<String>,
    old_number: Option<i64>,
    derived_number: Option<i64>,
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
    reserved_number: Option<i64>,
    /// The dialect whose clients know old ids of the batch.
    dialect: Option<String>,
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
        let merged = batch.merged.iter().map(|merged| (merged.merger.clone(), merged_row(merged)));
        Self {
            run: batch.run,
            source: batch.source.as_str().to_owned(),
            cursor: to_i64(batch.cursor),
            next_cursor: to_i64(batch.next_cursor),
            now: batch.now.as_micros(),
            counts: [counts.added, counts.same, counts.merged, counts.refused].map(to_i64),
            passwords: [passwords.checked, passwords.common, passwords.not_checked].map(to_i64),
            reserved_number: batch.reserved_number,
            dialect: rows_with_users(batch).find_map(|row| row.lookup.as_ref()).map(|lookup| lookup.dialect.clone()),
            added: batch.added.iter().map(new_row).collect(),
            merged: merged.collect(),
            outcomes: outcomes.collect(),
        }
    }
}

/// The rows of a batch that a user gets.
fn rows_with_users(batch: &ImportBatch) -> impl Iterator<Item = &AddedRow> {
    batch.added.iter().chain(batch.merged.iter().map(|merged| &merged.row))
}

fn new_row(added: &AddedRow) -> NewRow {
    let AddedRow { user, status, number, old_id, lookup, content, position } = added;
    let (seal_key_id, sealed) = encode_sealed_digest(&user.credential);
    let lookup = lookup.clone();
    let derived_number = lookup.as_ref().and_then(|lookup| lookup.derived_number);
    let (dialect, key) = lookup.map(|LegacyLookup { dialect, key, .. }| (dialect, key)).unzip();
    let (position, content) = (to_i64(*position), content.0.to_vec());
    let old_id = OldIdRow {
        id: old_id.clone(),
        position,
        content,
        merged: false,
        dialect,
        key,
        answer: None,
        old_number: None,
        derived_number,
    };
    NewRow {
        number: *number,
        row: UserRow::new(user).with_status(*status),
        verifier: user.credential.verifier.clone(),
        seal_key_id,
        sealed,
        keys: user.identifier_keys().into_iter().map(str::to_owned).collect(),
        old_id,
    }
}

/// The alias and the number of a user who existed before stay; those of the row are answered by its dialect alone.
fn merged_row(MergedRow { row, alias_id, .. }: &MergedRow) -> NewRow {
    let new = new_row(row);
    let old_number = row.number;
    let has_more = alias_id.is_some() || old_number.is_some();
    let answer = has_more.then(|| pack_legacy_ids(&row.old_id, alias_id.as_deref(), old_number));
    let old_id = OldIdRow { merged: true, answer, old_number, ..new.old_id };
    NewRow { old_id, ..new }
}

/// An old id of a refused row may have a NUL, which PostgreSQL rejects.
fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// Writes a batch, or nothing of it.
pub(super) async fn write(db: &BackendConnections, batch: &ImportBatch) -> Result<CommitOutcome> {
    if rows_with_users(batch).any(|row| UserRow::new(&row.user).has_nul()) {
        return Err(Error::Invalid("profile"));
    }
    let rows = Rows::new(batch);
    let written = match db {
        BackendConnections::Postgres(postgres) => query!(@postgres postgres.pool, SLOW_QUERY_TIMEOUTS, |conn| {
            let written = conn.transaction(async |conn| {
                if move_cursor!(rows).execute(conn).await? == 0 {
                    return Err(BatchError::CursorMoved);
                }
                postgres::write_postgres(conn, &rows).await
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
    if let Some(reserved) = rows.reserved_number {
        let reserve = "UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = 'users'";
        diesel::sql_query(reserve).bind::<BigInt, _>(reserved).execute(conn)?;
    }
    if let Some(dialect) = &rows.dialect {
        let decoy = "INSERT INTO legacy_ids (source, id, number, run, position, content, merged, dialect, key) \
             SELECT '{decoy}', ?1, number, 0, 0, x'', FALSE, ?1, '{decoy}' FROM users WHERE number = 0 \
             ON CONFLICT DO NOTHING";
        diesel::sql_query(decoy).bind::<Text, _>(dialect).execute(conn)?;
    }
    for new in &rows.added {
        let credential =
            (users::verifier.eq(&new.verifier), users::seal_key_id.eq(new.seal_key_id), users::sealed.eq(&new.sealed));
        let values = (&new.row, credential, users::epoch.eq(0));
        let insert = diesel::insert_into(users::table);
        let number = match new.number {
            Some(number) => {
                insert.values((values, users::number.eq(number))).execute(conn)?;
                number
            }
            None => insert.values(values).returning(users::number).get_result::<i64>(conn)?,
        };
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
        legacy_ids::dialect.eq(&old.dialect),
        legacy_ids::key.eq(&old.key),
        legacy_ids::answer.eq(&old.answer),
        legacy_ids::old_number.eq(old.old_number),
        legacy_ids::derived_number.eq(old.derived_number),
    );
    diesel::RunQueryDsl::execute(diesel::insert_into(legacy_ids::table).values(values), conn)
}
