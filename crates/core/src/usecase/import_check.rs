//! `stele import check`: an import that writes to a scratch store instead of the real one. The decisions are those of the
//! import itself, because the same code makes them.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use crate::Result;
use crate::import::{ImportLookup, PasswordCounts, RunId, SourceName};
use crate::ports::{
    AddedRow, CommitOutcome, ImportBatch, ImportQuery, ImportRun, ImportStore, MergedRow, PendingUser, RecordedRow,
    SourceLock, SourceUser, UndoneRows,
};
use crate::time::Timestamp;
use crate::user::{Account, Credential, FIRST_USER_NUMBER};

/// The run of rows that the real store knows: no run of the scratch store.
const OTHER_RUN: RunId = -1;

/// A store that reads the real store and a scratch store, and writes only to the scratch store.
pub struct CheckStore {
    real: Arc<dyn ImportStore>,
    scratch: Arc<dyn ImportStore>,
    /// Users of the real store whom rows have joined.
    joined: Mutex<HashSet<i64>>,
}

impl CheckStore {
    /// A store on these two. The scratch store is empty.
    pub fn new(real: Arc<dyn ImportStore>, scratch: Arc<dyn ImportStore>) -> Self {
        Self { real, scratch, joined: Mutex::default() }
    }

    fn joined(&self) -> MutexGuard<'_, HashSet<i64>> {
        self.joined.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The row without its secret, which a check does not store.
fn without_secret(mut row: AddedRow) -> AddedRow {
    row.user.credential = Credential { verifier: String::new(), sealed: None };
    row
}

#[async_trait]
impl ImportStore for CheckStore {
    /// A check may run beside an import, since it writes nothing.
    async fn lock_source(&self, _: &SourceName) -> Result<Option<SourceLock>> {
        Ok(Some(SourceLock::new(())))
    }

    async fn list_runs(&self, source: &SourceName) -> Result<Vec<ImportRun>> {
        self.scratch.list_runs(source).await
    }

    async fn list_runs_with_users(&self, source: &SourceName) -> Result<Vec<RunId>> {
        self.scratch.list_runs_with_users(source).await
    }

    async fn find_last_run(&self, _: &SourceName) -> Result<Option<ImportRun>> {
        Ok(None)
    }

    async fn count_passwords(&self, source: &SourceName) -> Result<PasswordCounts> {
        self.scratch.count_passwords(source).await
    }

    async fn start_run(&self, source: &SourceName, fingerprint: &[u8; 32], now: Timestamp) -> Result<ImportRun> {
        self.scratch.start_run(source, fingerprint, now).await
    }

    async fn rewind_run(&self, run: RunId) -> Result<()> {
        self.scratch.rewind_run(run).await
    }

    async fn finish_run(&self, run: RunId, now: Timestamp) -> Result<()> {
        self.scratch.finish_run(run, now).await
    }

    async fn lookup(&self, source: &SourceName, query: &ImportQuery) -> Result<ImportLookup> {
        let mut found = self.scratch.lookup(source, query).await?;
        // Owners of the scratch store have negative numbers, so that they are not real users.
        for owner in found.owners.values_mut() {
            owner.number = -owner.number;
        }
        let owners = found.uuid_owners.values_mut().chain(found.legacy_owners.values_mut());
        owners.chain(found.number_owners.values_mut()).for_each(|number| *number = -*number);
        let real = self.real.lookup(source, query).await?;
        found.rows.extend(real.rows.into_iter().map(|(old_id, mut row)| {
            row.run = OTHER_RUN;
            (old_id, row)
        }));
        let joined = self.joined();
        found.owners.extend(real.owners.into_iter().map(|(key, mut owner)| {
            owner.is_of_source |= joined.contains(&owner.number);
            (key, owner)
        }));
        found.uuid_owners.extend(real.uuid_owners);
        found.legacy_owners.extend(real.legacy_owners);
        found.number_owners.extend(real.number_owners);
        Ok(found)
    }

    async fn write_batch(&self, batch: &ImportBatch) -> Result<CommitOutcome> {
        // A row that joins a real user is a user of its own in the scratch store.
        let merged = batch.merged.iter().map(|MergedRow { row, .. }| row.clone());
        let added = batch.added.iter().cloned().chain(merged).map(without_secret).collect();
        // Users without a number of their own get the numbers that the import itself would give them.
        let highest = self.real.highest_user_number().await?;
        let reserved_number = batch.reserved_number.max(Some(highest.max(FIRST_USER_NUMBER - 1)));
        let scratch = ImportBatch { reserved_number, added, merged: Vec::new(), ..batch.clone() };
        let outcome = self.scratch.write_batch(&scratch).await?;
        if outcome == CommitOutcome::Written {
            self.joined().extend(batch.merged.iter().map(|merged| merged.merger.number));
        }
        Ok(outcome)
    }

    async fn list_accounts(&self, numbers: &[i64]) -> Result<Vec<Account>> {
        // Rows join real users only.
        self.real.list_accounts(numbers).await
    }

    async fn list_rows(&self, run: RunId, after: u64, limit: u32) -> Result<Vec<RecordedRow>> {
        self.scratch.list_rows(run, after, limit).await
    }

    async fn undo_rows(&self, run: RunId, after: &str, limit: u32) -> Result<UndoneRows> {
        self.scratch.undo_rows(run, after, limit).await
    }

    async fn mark_undone(&self, run: RunId, now: Timestamp) -> Result<()> {
        self.scratch.mark_undone(run, now).await
    }

    async fn list_users(&self, source: &SourceName, after: &str, limit: u32) -> Result<Vec<SourceUser>> {
        self.scratch.list_users(source, after, limit).await
    }

    async fn count_pending_hashes(&self) -> Result<u64> {
        self.real.count_pending_hashes().await
    }

    async fn list_pending_hashes(&self, _: i64, _: u32) -> Result<Vec<PendingUser>> {
        Ok(Vec::new())
    }

    async fn highest_user_number(&self) -> Result<i64> {
        self.real.highest_user_number().await
    }

    async fn replace_pending_hash(&self, _: &PendingUser, _: &str) -> Result<bool> {
        Ok(false)
    }
}
