//! The store of imports: runs, the outcome of each row, the old ids of users, and the batches that are written.

use async_trait::async_trait;

use crate::Result;
use crate::import::{ContentHash, ImportLookup, Merger, OutcomeCounts, PasswordCounts, RowOutcome, RunId, SourceName};
use crate::time::Timestamp;
use crate::user::{Account, Credential, NewUser, UserId, UserStatus};

/// The keys of a batch, to be looked up.
#[derive(Clone, Debug, Default)]
pub struct ImportQuery {
    /// Old ids.
    pub old_ids: Vec<String>,
    /// Canonical keys of identifiers.
    pub keys: Vec<String>,
    /// UUIDs that rows set, or have as old ids.
    pub ids: Vec<UserId>,
    /// The dialect whose clients know the old ids.
    pub dialect: Option<String>,
    /// By what these clients find a user: see [`legacy_key`](crate::user::legacy_key).
    pub legacy_keys: Vec<String>,
    /// Numbers that rows set.
    pub numbers: Vec<i64>,
}

/// An import run: one reading of one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportRun {
    /// The run's number.
    pub id: RunId,
    /// The source.
    pub source: SourceName,
    /// Identifies the map and the file or database that is read.
    pub fingerprint: [u8; 32],
    /// When the run started.
    pub started_at: Timestamp,
    /// When the last batch was written.
    pub updated_at: Timestamp,
    /// When the run reached the end of the source; `None` while it runs, and if it was interrupted.
    pub finished_at: Option<Timestamp>,
    /// When the run was undone; `None` if it was not.
    pub undone_at: Option<Timestamp>,
    /// How many records are written: the position of the last one.
    pub cursor: u64,
    /// The outcomes of the rows up to the cursor.
    pub counts: OutcomeCounts,
    /// The passwords that users got from these rows. They are counted once, also if the source is read again.
    pub passwords: PasswordCounts,
}

/// A row that becomes a new user.
#[derive(Clone, Debug)]
pub struct AddedRow {
    /// The user.
    pub user: NewUser,
    /// Whether the user may log in.
    pub status: UserStatus,
    /// The number that the user gets; `None` for the next one.
    pub number: Option<i64>,
    /// The old id.
    pub old_id: String,
    /// By what clients find the user by the old id; `None` if no client knows it, or if another source has brought it.
    pub lookup: Option<LegacyLookup>,
    /// The row's content.
    pub content: ContentHash,
    /// The row's position in the source.
    pub position: u64,
}

/// By what clients of a dialect find a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegacyLookup {
    /// The dialect.
    pub dialect: String,
    /// See [`legacy_key`](crate::user::legacy_key).
    pub key: String,
    /// See [`derived_number`](crate::import::derived_number).
    pub derived_number: Option<i64>,
}

/// A row that is joined to an existing user. What the user has stays; what it lacks is filled in.
#[derive(Clone, Debug)]
pub struct MergedRow {
    /// The user, and the identifiers that the user gets.
    pub merger: Merger,
    /// What the row says: its identifiers, its profile, and the credential for a user who has no password. Its number
    /// is only answered by the dialect of the source.
    pub row: AddedRow,
    /// The alias that the row sets, which only the dialect of the source answers.
    pub alias_id: Option<String>,
}

/// The outcome of a row, for the report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedRow {
    /// The row's position in the source.
    pub position: u64,
    /// The line of a file.
    pub line: Option<u64>,
    /// The old id as the row has it; empty if it could not be read.
    pub old_id: String,
    /// The outcome.
    pub outcome: RowOutcome,
}

/// A batch of rows with their outcomes, which is written in one transaction.
#[derive(Clone, Debug)]
pub struct ImportBatch {
    /// The run.
    pub run: RunId,
    /// The source.
    pub source: SourceName,
    /// The cursor before the batch.
    pub cursor: u64,
    /// The cursor after the batch.
    pub next_cursor: u64,
    /// When the batch is written.
    pub now: Timestamp,
    /// The highest number that must not be given to a later user.
    pub reserved_number: Option<i64>,
    /// New users.
    pub added: Vec<AddedRow>,
    /// Rows that are joined to existing users.
    pub merged: Vec<MergedRow>,
    /// The outcomes of all rows of the batch.
    pub rows: Vec<RecordedRow>,
    /// The outcomes, counted.
    pub counts: OutcomeCounts,
    /// The passwords of the rows that are added, and of those joined to users without a password.
    pub passwords: PasswordCounts,
}

/// What became of a batch. Unless it is written, nothing of it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitOutcome {
    /// The batch is written, with the cursor.
    Written,
    /// An identifier or id was taken after the lookup: look it up again.
    Conflict,
    /// The cursor is not that of the batch: another process has continued this run.
    CursorMoved,
}

/// A page of a run's additions that were taken back, or that had to stay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UndoneRows {
    /// How many users were removed.
    pub removed: u64,
    /// The old ids of users who stay, because they have changed since, or another source has joined them; and of rows
    /// that were joined to existing users. Such a row's old id is removed, but what it has filled in stays.
    pub kept: Vec<String>,
    /// The last old id of the page; `None` if there are no more.
    pub last_id: Option<String>,
}

/// A user of a source.
#[derive(Clone, Debug)]
pub struct SourceUser {
    /// The old id.
    pub old_id: String,
    /// The user.
    pub account: Account,
}

/// Reserves a source for a process. Dropping it, or the end of the process however it ends, releases the source.
pub struct SourceLock {
    _held: Box<dyn Send + Sync>,
}

impl SourceLock {
    /// A lock that lasts as long as `held`.
    pub fn new(held: impl Send + Sync + 'static) -> Self {
        Self { _held: Box::new(held) }
    }
}

impl std::fmt::Debug for SourceLock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SourceLock(…)")
    }
}

/// Access to imports. Durable, and shared by every process on this database.
#[async_trait]
pub trait ImportStore: Send + Sync {
    /// Reserves a source, so that one process at a time imports from it; `None` if another process has reserved it.
    async fn lock_source(&self, source: &SourceName) -> Result<Option<SourceLock>>;

    /// The runs of a source, the newest first.
    async fn list_runs(&self, source: &SourceName) -> Result<Vec<ImportRun>>;

    /// The runs of a source with old ids that are not taken back, in any order. Reads every old id of the source.
    async fn list_runs_with_users(&self, source: &SourceName) -> Result<Vec<RunId>>;

    /// The last run of a source.
    async fn find_last_run(&self, source: &SourceName) -> Result<Option<ImportRun>>;

    /// The passwords that users got from a source, by all of its runs but those that were undone.
    async fn count_passwords(&self, source: &SourceName) -> Result<PasswordCounts>;

    /// Starts a run, and declares that programs which cannot verify waiting hashes cannot use the database any more.
    async fn start_run(&self, source: &SourceName, fingerprint: &[u8; 32], now: Timestamp) -> Result<ImportRun>;

    /// Sets an interrupted run back to the start of its source, for a source that has to be read again. The users that
    /// it has added stay, and are recognized.
    async fn rewind_run(&self, run: RunId) -> Result<()>;

    /// Records that a run reached the end of its source.
    async fn finish_run(&self, run: RunId, now: Timestamp) -> Result<()>;

    /// Looks up the keys of a batch.
    async fn lookup(&self, source: &SourceName, query: &ImportQuery) -> Result<ImportLookup>;

    /// The users with these numbers, in any order.
    async fn list_accounts(&self, numbers: &[i64]) -> Result<Vec<Account>>;

    /// Writes a batch and the cursor in one transaction.
    async fn write_batch(&self, batch: &ImportBatch) -> Result<CommitOutcome>;

    /// Up to `limit` rows of a run with positions above `after`, in the order of the source.
    async fn list_rows(&self, run: RunId, after: u64, limit: u32) -> Result<Vec<RecordedRow>>;

    /// Takes back the rows of a run among the `limit` old ids of its source that follow `after`: removes the users that
    /// it added and who have not changed since, and the old ids of its rows.
    async fn undo_rows(&self, run: RunId, after: &str, limit: u32) -> Result<UndoneRows>;

    /// Records that a run was undone.
    async fn mark_undone(&self, run: RunId, now: Timestamp) -> Result<()>;

    /// Up to `limit` users of a source whose old ids follow `after`, in the order of these ids.
    async fn list_users(&self, source: &SourceName, after: &str, limit: u32) -> Result<Vec<SourceUser>>;

    /// How many users wait for argon2id over their imported hash.
    async fn count_pending_hashes(&self) -> Result<u64>;

    /// Up to `limit` users whose imported hash waits for argon2id, with numbers from `from` on, in the order of these
    /// numbers.
    async fn list_pending_hashes(&self, from: i64, limit: u32) -> Result<Vec<PendingUser>>;

    /// The highest number of a user.
    async fn highest_user_number(&self) -> Result<i64>;

    /// Replaces the verifier of a user whose hash still waits. The epoch stays. A sealed digest stays while salted
    /// logins are enabled; the sealed bytes of another hash are removed. Returns whether the verifier was replaced.
    async fn replace_pending_hash(&self, user: &PendingUser, verifier: &str) -> Result<bool>;
}

/// A user whose imported hash waits for argon2id. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct PendingUser {
    /// The user's number.
    pub number: i64,
    /// The user.
    pub id: UserId,
    /// The credential as stored.
    pub credential: Credential,
}

impl std::fmt::Debug for PendingUser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PendingUser({}, …)", self.number)
    }
}
