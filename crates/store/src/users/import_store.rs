//! Store of imports: runs, the outcomes of rows, undo, and the users whose hash waits for argon2id. Batches are looked up
//! by [`super::import_lookup`] and written by [`super::import_batch`].

use std::collections::HashSet;

use async_trait::async_trait;
use diesel::dsl::{exists, max, sql};
use diesel::sql_types::{BigInt, Binary, Bool, Nullable};
use diesel::{
    ExpressionMethods, IntoSql, OptionalExtension, QueryDsl, QueryResult, Queryable, Selectable, SelectableHelper,
};
use stele_core::import::{
    ImportLookup, OutcomeCounts, PASSWORD_KEPT, PasswordCounts, Refusal, RowOutcome, RunId, SourceName,
};
use stele_core::ports::{
    CommitOutcome, ImportBatch, ImportQuery, ImportRun, ImportStore, PendingUser, RecordedRow, SourceLock, SourceUser,
    UndoneRows,
};
use stele_core::time::Timestamp;
use stele_core::user::Account;
use stele_core::{Error, Result};

use super::pool::{SLOW_QUERY_TIMEOUTS, query, transaction};
use super::rows::{CredentialRow, UserRow};
use super::schema::{identifiers, import_rows, import_runs, legacy_ids, users};
use super::user_store::{AccountRow, DECOY_NUMBER, SALTED_LOGINS_DISABLED, SqlStore, account_from_row};
use crate::error::{corrupt_column_error, map_database_error};
use crate::migrate::declare_imports_sql;

/// The condition of the partial index `users_with_pending_hash`. The texts must be equal, or every row is read.
pub(super) const PENDING_CONDITION: &str = "substr(verifier, 1, 9) = '{pending}'";

/// A row of `import_runs`.
#[derive(Queryable, Selectable)]
#[diesel(table_name = import_runs)]
struct RunRow {
    id: i64,
    source: String,
    fingerprint: Vec<u8>,
    started_at: i64,
    updated_at: i64,
    finished_at: Option<i64>,
    undone_at: Option<i64>,
    cursor: i64,
    added: i64,
    same: i64,
    merged: i64,
    refused: i64,
    #[diesel(embed)]
    passwords: PasswordsRow,
}

/// The counts of passwords in a row of `import_runs`.
#[derive(Queryable, Selectable)]
#[diesel(table_name = import_runs)]
struct PasswordsRow {
    passwords_looked_up: i64,
    common_passwords: i64,
    other_hashes: i64,
}

impl PasswordsRow {
    fn into_counts(self) -> QueryResult<PasswordCounts> {
        let count = |number: i64| u64::try_from(number).map_err(|_| corrupt_column_error("import_runs"));
        Ok(PasswordCounts {
            checked: count(self.passwords_looked_up)?,
            common: count(self.common_passwords)?,
            not_checked: count(self.other_hashes)?,
        })
    }
}

impl RunRow {
    fn into_run(self) -> QueryResult<ImportRun> {
        let corrupt = || corrupt_column_error("import_runs");
        let count = |number: i64| u64::try_from(number).map_err(|_| corrupt());
        Ok(ImportRun {
            id: self.id,
            source: SourceName::parse(&self.source).ok_or_else(corrupt)?,
            fingerprint: self.fingerprint.try_into().map_err(|_| corrupt())?,
            started_at: Timestamp::from_micros(self.started_at),
            updated_at: Timestamp::from_micros(self.updated_at),
            finished_at: self.finished_at.map(Timestamp::from_micros),
            undone_at: self.undone_at.map(Timestamp::from_micros),
            cursor: count(self.cursor)?,
            counts: OutcomeCounts {
                added: count(self.added)?,
                same: count(self.same)?,
                merged: count(self.merged)?,
                refused: count(self.refused)?,
            },
            passwords: self.passwords.into_counts()?,
        })
    }
}

const OUTCOME_ADD: i16 = 1;
const OUTCOME_SAME: i16 = 2;
const OUTCOME_MERGE: i16 = 3;
const OUTCOME_REFUSE: i16 = 4;

/// The columns `outcome` and `refusal`.
pub(super) fn encode_outcome(outcome: RowOutcome) -> (i16, Option<String>) {
    match outcome {
        RowOutcome::Add => (OUTCOME_ADD, None),
        RowOutcome::Same => (OUTCOME_SAME, None),
        RowOutcome::Merge => (OUTCOME_MERGE, None),
        RowOutcome::MergeKeepingPassword => (OUTCOME_MERGE, outcome.code()),
        RowOutcome::Refuse(refusal) => (OUTCOME_REFUSE, Some(refusal.code())),
    }
}

type OutcomeRow = (i64, Option<i64>, String, i16, Option<String>);

fn decode_row((position, line, old_id, outcome, refusal): OutcomeRow) -> QueryResult<RecordedRow> {
    let corrupt = || corrupt_column_error("import_rows");
    let outcome = match (outcome, refusal.as_deref()) {
        (OUTCOME_ADD, None) => RowOutcome::Add,
        (OUTCOME_SAME, None) => RowOutcome::Same,
        (OUTCOME_MERGE, None) => RowOutcome::Merge,
        (OUTCOME_MERGE, Some(PASSWORD_KEPT)) => RowOutcome::MergeKeepingPassword,
        (OUTCOME_REFUSE, Some(code)) => RowOutcome::Refuse(Refusal::parse(code).ok_or_else(corrupt)?),
        _ => return Err(corrupt()),
    };
    let line = line.map(u64::try_from).transpose().map_err(|_| corrupt())?;
    Ok(RecordedRow { position: u64::try_from(position).map_err(|_| corrupt())?, line, old_id, outcome })
}

/// A position or a count as a column has it.
pub(super) fn to_i64(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[async_trait]
impl ImportStore for SqlStore {
    async fn lock_source(&self, source: &SourceName) -> Result<Option<SourceLock>> {
        super::import_lock::lock(&self.db, source).await
    }

    async fn list_runs(&self, source: &SourceName) -> Result<Vec<ImportRun>> {
        let source = source.as_str().to_owned();
        let rows: QueryResult<Vec<RunRow>> = query!(self.db, Read, SLOW_QUERY_TIMEOUTS, |conn| {
            let of_source = import_runs::table.filter(import_runs::source.eq(&source)).order(import_runs::id.desc());
            of_source.select(RunRow::as_select()).load(conn).await
        });
        rows.and_then(|rows| rows.into_iter().map(RunRow::into_run).collect()).map_err(map_database_error)
    }

    async fn list_runs_with_users(&self, source: &SourceName) -> Result<Vec<RunId>> {
        let source = source.as_str().to_owned();
        let runs = query!(self.db, Read, SLOW_QUERY_TIMEOUTS, |conn| {
            let of_source = legacy_ids::table.filter(legacy_ids::source.eq(&source));
            of_source.select(legacy_ids::run).distinct().load::<i64>(conn).await
        });
        runs.map_err(map_database_error)
    }

    async fn find_last_run(&self, source: &SourceName) -> Result<Option<ImportRun>> {
        let source = source.as_str().to_owned();
        let row: QueryResult<Option<RunRow>> = query!(self.db, Read, |conn| {
            let of_source = import_runs::table.filter(import_runs::source.eq(&source)).order(import_runs::id.desc());
            of_source.select(RunRow::as_select()).first(conn).await.optional()
        });
        row.and_then(|row| row.map(RunRow::into_run).transpose()).map_err(map_database_error)
    }

    async fn count_passwords(&self, source: &SourceName) -> Result<PasswordCounts> {
        let source = source.as_str().to_owned();
        let runs: QueryResult<Vec<PasswordsRow>> = query!(self.db, Read, |conn| {
            let runs = import_runs::table.filter(import_runs::source.eq(&source));
            runs.filter(import_runs::undone_at.is_null()).select(PasswordsRow::as_select()).load(conn).await
        });
        let counts =
            runs.and_then(|runs| runs.into_iter().map(PasswordsRow::into_counts).collect::<QueryResult<Vec<_>>>());
        Ok(counts.map_err(map_database_error)?.into_iter().fold(PasswordCounts::default(), PasswordCounts::plus))
    }

    async fn start_run(&self, source: &SourceName, fingerprint: &[u8; 32], now: Timestamp) -> Result<ImportRun> {
        let (name, fingerprint, at) = (source.as_str().to_owned(), fingerprint.to_vec(), now.as_micros());
        let row: QueryResult<RunRow> = transaction!(self.db, |conn| {
            diesel::sql_query(declare_imports_sql()).execute(conn).await?;
            let zero = (import_runs::cursor.eq(0), import_runs::added.eq(0), import_runs::same.eq(0));
            let more = (import_runs::merged.eq(0), import_runs::refused.eq(0));
            let times = (import_runs::started_at.eq(at), import_runs::updated_at.eq(at));
            let values = (import_runs::source.eq(&name), import_runs::fingerprint.eq(&fingerprint), times, zero, more);
            diesel::insert_into(import_runs::table)
                .values(values)
                .returning(RunRow::as_returning())
                .get_result(conn)
                .await
        });
        row.and_then(RunRow::into_run).map_err(map_database_error)
    }

    async fn rewind_run(&self, run: RunId) -> Result<()> {
        let rewound = query!(self.db, Write, |conn| {
            let zero = (import_runs::cursor.eq(0), import_runs::added.eq(0), import_runs::same.eq(0));
            let more = (import_runs::merged.eq(0), import_runs::refused.eq(0));
            diesel::update(import_runs::table.find(run)).set((zero, more)).execute(conn).await
        });
        rewound.map(drop).map_err(map_database_error)
    }

    async fn finish_run(&self, run: RunId, now: Timestamp) -> Result<()> {
        let at = now.as_micros();
        let finished: QueryResult<()> = transaction!(self.db, SLOW_QUERY_TIMEOUTS, |conn| {
            let cursor: i64 = import_runs::table.find(run).select(import_runs::cursor).first(conn).await?;
            // A source that was read again may have become shorter.
            let beyond = import_rows::table.filter(import_rows::run.eq(run)).filter(import_rows::position.gt(cursor));
            diesel::delete(beyond).execute(conn).await?;
            let times = (import_runs::finished_at.eq(at), import_runs::updated_at.eq(at));
            diesel::update(import_runs::table.find(run)).set(times).execute(conn).await?;
            Ok(())
        });
        finished.map_err(map_database_error)
    }

    async fn lookup(&self, source: &SourceName, query: &ImportQuery) -> Result<ImportLookup> {
        super::import_lookup::lookup(&self.db, source, query).await
    }

    async fn list_accounts(&self, numbers: &[i64]) -> Result<Vec<Account>> {
        let numbers = numbers.to_vec();
        let rows = query!(self.db, Read, SLOW_QUERY_TIMEOUTS, |conn| {
            users::table
                .filter(users::number.eq_any(&numbers))
                .select((users::number, UserRow::as_select(), CredentialRow::as_select()))
                .load::<AccountRow>(conn)
                .await
        });
        let accounts = rows.map_err(map_database_error)?.into_iter().map(|row| account_from_row(Some(row)));
        accounts.filter_map(Result::transpose).collect()
    }

    async fn write_batch(&self, batch: &ImportBatch) -> Result<CommitOutcome> {
        super::import_batch::write(&self.db, batch).await
    }

    async fn list_rows(&self, run: RunId, after: u64, limit: u32) -> Result<Vec<RecordedRow>> {
        let after = to_i64(after);
        let rows = query!(self.db, Read, SLOW_QUERY_TIMEOUTS, |conn| {
            import_rows::table
                .filter(import_rows::run.eq(run))
                .filter(import_rows::position.gt(after))
                .order(import_rows::position)
                .limit(limit.into())
                .select((
                    import_rows::position,
                    import_rows::line,
                    import_rows::old_id,
                    import_rows::outcome,
                    import_rows::refusal,
                ))
                .load::<OutcomeRow>(conn)
                .await
        });
        rows.and_then(|rows| rows.into_iter().map(decode_row).collect()).map_err(map_database_error)
    }

    async fn undo_rows(&self, run: RunId, after: &str, limit: u32) -> Result<UndoneRows> {
        let after = after.to_owned();
        let undone: QueryResult<UndoneRows> = transaction!(self.db, SLOW_QUERY_TIMEOUTS, |conn| {
            let source: String = import_runs::table.find(run).select(import_runs::source).first(conn).await?;
            // Not the rows of the report: a reading that was repeated has overwritten their outcomes.
            let page = legacy_ids::table
                .filter(legacy_ids::source.eq(&source))
                .filter(legacy_ids::id.gt(&after))
                .order(legacy_ids::id)
                .limit(limit.into())
                .select((legacy_ids::id, legacy_ids::number, legacy_ids::merged, legacy_ids::run))
                .load::<(String, i64, bool, i64)>(conn)
                .await?;
            let last_id = page.last().map(|(id, ..)| id.clone());
            let of_run = page.into_iter().filter(|(.., of)| *of == run);
            let rows: Vec<(String, i64, bool)> = of_run.map(|(id, number, merged, _)| (id, number, merged)).collect();
            if rows.is_empty() {
                return Ok(UndoneRows { last_id, ..UndoneRows::default() });
            }
            let added: Vec<i64> = rows.iter().filter(|(.., merged)| !merged).map(|(_, number, _)| *number).collect();
            // Every change of a password or of the status sets an epoch.
            let changed = users::table.filter(users::number.eq_any(&added)).filter(users::epoch.ne(0));
            let mut kept: HashSet<i64> = changed.select(users::number).load(conn).await?.into_iter().collect();
            let joined = legacy_ids::table.filter(legacy_ids::number.eq_any(&added)).filter(legacy_ids::run.ne(run));
            kept.extend(joined.select(legacy_ids::number).load::<i64>(conn).await?);
            let removed: Vec<i64> = added.iter().copied().filter(|number| !kept.contains(number)).collect();
            // The old id of a user who stays is kept as well: the user's clients have stored it.
            let gone: Vec<&String> = rows
                .iter()
                .filter(|(_, number, merged)| *merged || !kept.contains(number))
                .map(|(id, ..)| id)
                .collect();
            let gone = legacy_ids::table.filter(legacy_ids::source.eq(&source)).filter(legacy_ids::id.eq_any(gone));
            diesel::delete(gone).execute(conn).await?;
            diesel::delete(identifiers::table.filter(identifiers::number.eq_any(&removed))).execute(conn).await?;
            diesel::delete(users::table.filter(users::number.eq_any(&removed))).execute(conn).await?;
            let stays = |(_, number, merged): &&(String, i64, bool)| *merged || kept.contains(number);
            let kept: Vec<String> = rows.iter().filter(stays).map(|(id, ..)| id.clone()).collect();
            Ok(UndoneRows { removed: removed.len() as u64, kept, last_id })
        });
        undone.map_err(map_database_error)
    }

    async fn mark_undone(&self, run: RunId, now: Timestamp) -> Result<()> {
        let at = now.as_micros();
        let marked = query!(self.db, Write, |conn| {
            diesel::update(import_runs::table.find(run)).set(import_runs::undone_at.eq(at)).execute(conn).await
        });
        marked.map(drop).map_err(map_database_error)
    }

    async fn list_users(&self, source: &SourceName, after: &str, limit: u32) -> Result<Vec<SourceUser>> {
        let (source, after) = (source.as_str().to_owned(), after.to_owned());
        let rows = query!(self.db, Read, SLOW_QUERY_TIMEOUTS, |conn| {
            legacy_ids::table
                .inner_join(users::table)
                .filter(legacy_ids::source.eq(&source))
                .filter(legacy_ids::id.gt(&after))
                .order(legacy_ids::id)
                .limit(limit.into())
                .select((legacy_ids::id, (users::number, UserRow::as_select(), CredentialRow::as_select())))
                .load::<(String, AccountRow)>(conn)
                .await
        });
        let rows = rows.map_err(map_database_error)?.into_iter();
        let users =
            rows.map(|(old_id, row)| Ok(account_from_row(Some(row))?.map(|account| SourceUser { old_id, account })));
        users.filter_map(Result::transpose).collect()
    }

    async fn count_pending_hashes(&self) -> Result<u64> {
        let rows = query!(self.db, Read, SLOW_QUERY_TIMEOUTS, |conn| {
            users::table.filter(sql::<Bool>(PENDING_CONDITION)).count().get_result::<i64>(conn).await
        });
        u64::try_from(rows.map_err(map_database_error)?).map_err(Error::internal)
    }

    async fn list_pending_hashes(&self, from: i64, limit: u32) -> Result<Vec<PendingUser>> {
        let rows = query!(self.db, Read, |conn| {
            users::table
                .filter(sql::<Bool>(PENDING_CONDITION))
                .filter(users::number.ge(from.max(DECOY_NUMBER + 1)))
                .order(users::number)
                .limit(limit.into())
                .select((users::number, UserRow::as_select(), CredentialRow::as_select()))
                .load::<AccountRow>(conn)
                .await
        });
        let accounts = rows.map_err(map_database_error)?.into_iter().map(|row| account_from_row(Some(row)));
        let pending = accounts.map(|account| {
            Ok(account?.map(|account| {
                let (number, id) = (account.user.number, account.user.id);
                PendingUser { number, id, credential: account.credential }
            }))
        });
        pending.filter_map(Result::transpose).collect()
    }

    async fn highest_user_number(&self) -> Result<i64> {
        let highest: QueryResult<Option<i64>> =
            query!(self.db, Read, |conn| users::table.select(max(users::number)).get_result(conn).await);
        Ok(highest.map_err(map_database_error)?.unwrap_or(DECOY_NUMBER))
    }

    async fn replace_pending_hash(&self, user: &PendingUser, verifier: &str) -> Result<bool> {
        let (number, old, new) = (user.number, user.credential.verifier.clone(), verifier.to_owned());
        let has_digest = stele_core::verifier::has_sealed_digest(&old);
        let replaced = transaction!(self.db, |conn| {
            let waiting = users::table.find(number).filter(users::verifier.eq(&old));
            let replaced = diesel::update(waiting).set(users::verifier.eq(&new)).execute(conn).await?;
            let is_disabled = diesel::select(exists(super::schema::facts::table.find(SALTED_LOGINS_DISABLED)));
            if replaced > 0 && (!has_digest || is_disabled.get_result::<bool>(conn).await?) {
                let nothing = (
                    users::seal_key_id.eq(None::<i64>.into_sql::<Nullable<BigInt>>()),
                    users::sealed.eq(None::<Vec<u8>>.into_sql::<Nullable<Binary>>()),
                );
                diesel::update(users::table.find(number)).set(nothing).execute(conn).await?;
            }
            Ok(replaced)
        });
        Ok(replaced.map_err(map_database_error)? > 0)
    }
}
