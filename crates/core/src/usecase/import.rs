//! Import of existing users: batches of rows are looked up, decided and written, each in one transaction with the
//! cursor, so that an interrupted import continues, and a repeated one changes nothing.
//!
//! The next batch can be looked up ([`BatchLookup`]) while one is written. If it has anything in common with the one that
//! is being written, it is looked up again.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::credential::seal_context;
use super::hash_pending::{HashJob, HashReport, hash_pending};
pub use super::import_batch::{BatchLookup, LookedUpBatch, RowOrder};
use super::import_batch::{Candidate, FoundRows, WrittenBatch};
use super::merge_passwords::is_known_to_be_same;
pub use super::merge_passwords::proves;
use super::undo_import::lock_source;
pub use super::undo_import::{UndoChoice, undo};
use crate::hasher::Hasher;
use crate::import::{
    Decision, IdClaims, ImportRules, Merger, OutcomeCounts, PasswordCounts, RowOutcome, RunId, SourceName, SourceRow,
    decide,
};
use crate::mac::MacKey;
use crate::password::PasswordDigest;
use crate::ports::{
    AddedRow, CommitOutcome, ImportBatch, ImportRun, ImportStore, LegacyLookup, MergedRow, PasswordListStore,
    RecordedRow, SourceLock, SourceUser,
};
use crate::random::Random;
use crate::seal::Sealer;
use crate::time::{Clock, Timestamp};
use crate::user::{Account, Credential, NewUser, UserId};
use crate::verifier::{self, ImportedHash, PendingHash};
use crate::{Error, Result};

/// How many rows one transaction writes.
pub const BATCH_SIZE: usize = 500;

/// How many times to look a batch up when users register with its identifiers meanwhile.
const MAX_ATTEMPTS: u32 = 5;

/// The keys, store, clock and rules of an import.
pub struct ImportJob<'a> {
    /// The store.
    pub store: &'a dyn ImportStore,
    /// The operator's list of common passwords, which are counted.
    pub password_list: &'a dyn PasswordListStore,
    /// Seals the imported hashes.
    pub sealer: &'a Sealer,
    /// The key of content hashes.
    pub mac: &'a MacKey,
    /// The source of randomness.
    pub random: &'a dyn Random,
    /// The clock.
    pub clock: &'a dyn Clock,
    /// How rows join existing users, and who knows their old ids.
    pub rules: ImportRules<'a>,
}

/// The dependencies of [`Imports`].
#[derive(Clone)]
pub struct ImportDependencies {
    /// The store of imports.
    pub store: Arc<dyn ImportStore>,
    /// The store of the operator's list of common passwords.
    pub password_list: Arc<dyn PasswordListStore>,
    /// Seals the imported hashes.
    pub sealer: Arc<Sealer>,
    /// The key of content hashes.
    pub mac: Arc<MacKey>,
    /// The source of randomness.
    pub random: Arc<dyn Random>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
}

/// The use cases of `stele import` and `stele export`. The methods fail with [`Error::Unavailable`] or
/// [`Error::Internal`] unless their documentation names other errors.
#[derive(Clone)]
pub struct Imports {
    pub(super) deps: ImportDependencies,
}

#[expect(clippy::missing_errors_doc, reason = "the type's documentation names them for all methods")]
impl Imports {
    /// Use cases on these dependencies.
    pub fn new(deps: ImportDependencies) -> Self {
        Self { deps }
    }

    /// Starts a run of a source, or continues an interrupted one: see [`Importer::start`].
    pub async fn start<'a>(
        &'a self,
        source: &SourceName,
        rules: ImportRules<'a>,
        fingerprint: &[u8; 32],
        order: RowOrder,
    ) -> Result<Importer<'a>> {
        let ImportDependencies { store, password_list, sealer, mac, random, clock } = &self.deps;
        let (store, password_list) = (store.as_ref(), password_list.as_ref());
        let (random, clock) = (random.as_ref(), clock.as_ref());
        let job = ImportJob { store, password_list, sealer, mac, random, clock, rules };
        Importer::start(job, source, fingerprint, order).await
    }

    /// The last run of a source.
    pub async fn find_last_run(&self, source: &SourceName) -> Result<Option<ImportRun>> {
        self.deps.store.find_last_run(source).await
    }

    /// The passwords that users got from a source: see [`ImportStore::count_passwords`].
    pub async fn count_passwords(&self, source: &SourceName) -> Result<PasswordCounts> {
        self.deps.store.count_passwords(source).await
    }

    /// Up to `limit` rows of a run with positions above `after`, in the order of the source.
    pub async fn list_rows(&self, run: RunId, after: u64, limit: u32) -> Result<Vec<RecordedRow>> {
        self.deps.store.list_rows(run, after, limit).await
    }

    /// Up to `limit` users of a source whose old ids follow `after`, in the order of these ids.
    pub async fn list_users(&self, source: &SourceName, after: &str, limit: u32) -> Result<Vec<SourceUser>> {
        self.deps.store.list_users(source, after, limit).await
    }

    /// `D` of a user, unsealed; `None` if no `D` is sealed.
    pub fn unseal_digest(&self, account: &Account) -> Result<Option<PasswordDigest>> {
        let Credential { verifier, sealed } = &account.credential;
        let Some(sealed) = sealed.as_ref().filter(|_| verifier::has_sealed_digest(verifier)) else { return Ok(None) };
        let opened = self.deps.sealer.open(&seal_context(account.user.id), sealed).map_err(Error::internal)?;
        let bytes = opened.as_slice().try_into().map_err(Error::internal)?;
        Ok(Some(PasswordDigest::from_bytes(bytes)))
    }

    /// How many imported hashes wait for argon2id.
    pub async fn count_pending_hashes(&self) -> Result<u64> {
        self.deps.store.count_pending_hashes().await
    }

    /// Computes argon2id over every hash that waits: see [`hash_pending`].
    pub async fn hash_pending(&self, hasher: &Hasher) -> Result<HashReport> {
        let (store, random) = (self.deps.store.as_ref(), self.deps.random.as_ref());
        hash_pending(&HashJob { store, sealer: &self.deps.sealer, hasher, random }).await
    }
}

/// A run in progress.
pub struct Importer<'a> {
    job: ImportJob<'a>,
    run: ImportRun,
    /// `None` if no batch was written since the next one was looked up.
    written: Option<WrittenBatch>,
    _lock: SourceLock,
}

impl<'a> Importer<'a> {
    /// Starts a run, or continues the last one of this source if that was interrupted with the same fingerprint.
    ///
    /// # Errors
    /// `Unavailable` also if another process imports from this source; `Internal`.
    pub async fn start(
        job: ImportJob<'a>,
        source: &SourceName,
        fingerprint: &[u8; 32],
        order: RowOrder,
    ) -> Result<Self> {
        let lock = lock_source(job.store, source).await?;
        let last = job.store.find_last_run(source).await?;
        let interrupted =
            last.filter(|run| run.finished_at.is_none() && run.undone_at.is_none() && run.fingerprint == *fingerprint);
        let run = match (interrupted, order) {
            (None, _) => job.store.start_run(source, fingerprint, job.clock.now()).await?,
            (Some(run), RowOrder::Fixed) => run,
            (Some(run), RowOrder::Any) => {
                job.store.rewind_run(run.id).await?;
                ImportRun { cursor: 0, counts: OutcomeCounts::default(), ..run }
            }
        };
        Ok(Self { job, run, written: None, _lock: lock })
    }

    /// The run, with the rows that are written so far.
    pub fn run(&self) -> &ImportRun {
        &self.run
    }

    /// Looks batches of this run up.
    pub fn lookup(&self) -> BatchLookup<'a> {
        let ImportJob { store, password_list, mac, random, rules, .. } = self.job;
        BatchLookup { store, password_list, mac, random, rules, source: self.run.source.clone() }
    }

    /// Imports the rows that follow the cursor, [`BATCH_SIZE`] at most, and returns their outcomes.
    ///
    /// # Errors
    /// As [`Importer::write`].
    pub async fn import(&mut self, rows: Vec<SourceRow>) -> Result<Vec<RecordedRow>> {
        self.written = None;
        let batch = self.lookup().look_up(rows).await;
        self.write(batch).await
    }

    /// Writes the batch that follows the cursor, and returns the outcomes of its rows. It was looked up after the last
    /// batch was written, or while it was.
    ///
    /// # Errors
    /// `Unavailable` also if another process has continued this run; `Internal`. Then nothing of the batch is written.
    pub async fn write(&mut self, looked_up: LookedUpBatch) -> Result<Vec<RecordedRow>> {
        let LookedUpBatch { candidates, rows: mut recorded, query, found } = looked_up;
        let Some(next_cursor) = recorded.last().map(|row| row.position) else { return Ok(recorded) };
        let written = self.written.take();
        let is_current = |found: &FoundRows| written.is_none_or(|written| !written.affects(&query, &found.lookup));
        let mut found = found.filter(is_current);
        for _ in 0..MAX_ATTEMPTS {
            let current = match found.take() {
                Some(found) => found,
                None => self.lookup().find(&candidates, &query).await?,
            };
            let batch = self.decide_batch(&candidates, &current, &mut recorded, next_cursor).await?;
            match self.job.store.write_batch(&batch).await? {
                CommitOutcome::Written => {
                    self.run.cursor = next_cursor;
                    self.run.counts = self.run.counts.plus(batch.counts);
                    self.run.passwords = self.run.passwords.plus(batch.passwords);
                    self.run.updated_at = batch.now;
                    self.written = Some(WrittenBatch::new(query, &batch));
                    return Ok(recorded);
                }
                CommitOutcome::CursorMoved => {
                    return Err(Error::unavailable(
                        "another process continues this import; wait until it has finished",
                    ));
                }
                CommitOutcome::Conflict => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
        Err(Error::unavailable("users registered with identifiers of the same rows each time; try again"))
    }

    /// Records that the end of the source is reached.
    ///
    /// # Errors
    /// `Unavailable`, `Internal`.
    pub async fn finish(self) -> Result<ImportRun> {
        let now = self.job.clock.now();
        self.job.store.finish_run(self.run.id, now).await?;
        Ok(ImportRun { finished_at: Some(now), ..self.run })
    }

    async fn decide_batch(
        &self,
        candidates: &[Candidate],
        found: &FoundRows,
        recorded: &mut [RecordedRow],
        next_cursor: u64,
    ) -> Result<ImportBatch> {
        let rows: Vec<_> = candidates.iter().map(|c| (c.position, &c.row, c.content)).collect();
        let decisions = decide(&rows, &found.lookup, self.run.id, self.job.rules);
        let kept = self.find_kept_passwords(candidates, &decisions).await?;
        let (source, now) = (self.run.source.clone(), self.job.clock.now());
        let (run, cursor) = (self.run.id, self.run.cursor);
        let (added, merged, rows, counts) = (Vec::new(), Vec::new(), Vec::new(), OutcomeCounts::default());
        let (passwords, reserved_number) = (PasswordCounts::default(), None);
        let mut batch = ImportBatch {
            run,
            source,
            cursor,
            next_cursor,
            now,
            reserved_number,
            added,
            merged,
            rows,
            counts,
            passwords,
        };
        let merge_outcome = |candidate: &Candidate| match kept.contains(&candidate.position) {
            true => RowOutcome::MergeKeepingPassword,
            false => RowOutcome::Merge,
        };
        let mut decided = candidates.iter().zip(&found.passwords).zip(decisions).peekable();
        for row in recorded.iter_mut() {
            let is_decided = |((candidate, _), _): &((&Candidate, _), _)| candidate.position == row.position;
            if let Some(((candidate, password), decision)) = decided.next_if(is_decided) {
                row.outcome = match decision {
                    Decision::Same => RowOutcome::Same,
                    Decision::Refuse(refusal) => RowOutcome::Refuse(refusal),
                    Decision::Recount(known) if known.was_merged => merge_outcome(candidate),
                    Decision::Recount(_) => RowOutcome::Add,
                    Decision::Add => {
                        password.iter().for_each(|password| batch.passwords.count(*password));
                        let claims = IdClaims::of(&candidate.row, self.job.rules.dialect);
                        batch.reserved_number = batch.reserved_number.max(claims.reserved_number());
                        batch.added.push(self.to_added_row(candidate, candidate.id, claims, now));
                        RowOutcome::Add
                    }
                    Decision::Merge(merger) => {
                        let password = password.filter(|_| !merger.has_password);
                        password.into_iter().for_each(|password| batch.passwords.count(password));
                        let dialect = self.job.rules.dialect;
                        let claims = IdClaims::of(&candidate.row, dialect).of_merged(dialect);
                        batch.reserved_number = batch.reserved_number.max(claims.reserved_number());
                        batch.merged.push(self.to_merged_row(candidate, merger, claims, now));
                        merge_outcome(candidate)
                    }
                };
            }
            batch.counts.count(row.outcome);
        }
        batch.rows = recorded.to_vec();
        Ok(batch)
    }

    /// The positions of rows that join users whose passwords stay, and are not known to be those of the rows.
    async fn find_kept_passwords(&self, candidates: &[Candidate], decisions: &[Decision]) -> Result<HashSet<u64>> {
        let joins = candidates.iter().zip(decisions).filter_map(|(candidate, decision)| {
            let number = match decision {
                Decision::Merge(merger) if merger.has_password => merger.number,
                Decision::Recount(known) if known.was_merged => known.number,
                _ => return None,
            };
            Some((number, candidate.position, candidate.row.secret.as_ref()?))
        });
        let joins: Vec<_> = joins.collect();
        if joins.is_empty() {
            return Ok(HashSet::new());
        }
        let numbers: Vec<_> = joins.iter().map(|(number, ..)| *number).collect();
        let accounts = self.job.store.list_accounts(&numbers).await?;
        let stored: HashMap<_, _> =
            accounts.iter().map(|account| (account.user.number, (account.user.id, &account.credential))).collect();
        let is_kept = |number: i64, secret: &ImportedHash| {
            let found = stored.get(&number);
            found.is_some_and(|(id, stored)| !is_known_to_be_same(self.job.sealer, *id, stored, secret))
        };
        let kept = joins.into_iter().filter(|(number, _, secret)| is_kept(*number, secret));
        Ok(kept.map(|(_, position, _)| position).collect())
    }

    fn to_merged_row(&self, candidate: &Candidate, merger: Merger, claims: IdClaims, now: Timestamp) -> MergedRow {
        let mut row = self.to_added_row(candidate, merger.id, claims, now);
        row.number = row.number.filter(|&number| number != merger.number);
        row.lookup = row.lookup.filter(|_| !merger.has_old_id);
        MergedRow { merger, row, alias_id: candidate.row.alias_id.clone() }
    }

    fn to_added_row(&self, candidate: &Candidate, id: UserId, claims: IdClaims, now: Timestamp) -> AddedRow {
        let credential = self.create_credential(id, candidate.row.secret.clone());
        let row = &candidate.row;
        let user = NewUser {
            id,
            name: row.name.clone(),
            phone: row.phone.clone(),
            email: row.email.clone(),
            registered_with: None,
            registered_through: String::new(),
            registered_at: row.registered_at.unwrap_or(now),
            alias_id: row.alias_id.clone().unwrap_or_else(|| self.job.random.hex128()),
            role: row.role,
            profile: row.profile.clone(),
            credential,
        };
        let old_id = row.old_id.as_str().to_owned();
        let lookup = self.job.rules.dialect.zip(claims.legacy_key);
        let derived_number = claims.derived_number;
        let lookup = lookup.map(|(dialect, key)| LegacyLookup { dialect: dialect.to_owned(), key, derived_number });
        let (status, content, position) = (row.status, candidate.content, candidate.position);
        AddedRow { user, status, number: claims.number, old_id, lookup, content, position }
    }

    /// The credential of an imported hash. A hash that is not as strong as ours is sealed, and waits for argon2id.
    fn create_credential(&self, user: UserId, secret: Option<ImportedHash>) -> Credential {
        let Some(secret) = secret else {
            return Credential { verifier: verifier::NO_PASSWORD.to_owned(), sealed: None };
        };
        match PendingHash::new(secret) {
            Err(strong) => Credential { verifier: strong, sealed: None },
            Ok(pending) => {
                let context = seal_context(user);
                let sealed = self.job.sealer.seal(self.job.clock.now(), &context, pending.secret(), self.job.random);
                Credential { verifier: pending.verifier().to_owned(), sealed: Some(sealed) }
            }
        }
    }
}
