//! Keys in service: what the database knows of them, and who keeps a process up with it.

use async_trait::async_trait;

use crate::Result;
use crate::app::App;
use crate::seal::{KeyId, SealedSecret};
use crate::time::Timestamp;
use crate::user::UserId;

/// A key in service, as the database knows it: never the key itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRecord {
    /// `seal-1`, `jwt-eddsa-1`, `mac`: its file's name without the ending.
    pub name: String,
    /// By what the key is told from another of this name; absent until the key was seen to open a row.
    pub fingerprint: Option<Vec<u8>>,
    /// When it was put in service.
    pub added_at: Timestamp,
    /// From when on it seals or signs.
    pub works_from: Timestamp,
}

impl KeyRecord {
    /// Its number, if it is a key of this family: `seal`, `jwt-eddsa`.
    pub fn number(&self, kind: &str) -> Option<KeyId> {
        let text = self.name.strip_prefix(kind)?.strip_prefix('-')?;
        text.parse().ok().filter(|number: &KeyId| number.to_string() == text)
    }
}

/// A sealed digest and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedUser {
    /// The user's number, by which they are in order.
    pub number: i64,
    /// The user.
    pub id: UserId,
    /// The sealed digest.
    pub sealed: SealedSecret,
}

/// A user's sealed digest, and the same digest under another key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResealedUser {
    /// The user.
    pub id: UserId,
    /// What the row must still hold for the replacement to happen.
    pub old: SealedSecret,
    /// What replaces it.
    pub new: SealedSecret,
}

/// How many rows are sealed under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyUsage {
    /// The key.
    pub key: KeyId,
    /// Users whose digests are sealed under it.
    pub users: u64,
    /// Apps whose secrets are sealed under it.
    pub apps: u64,
}

/// What became of a key that was to be taken out of service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyRetirement {
    /// It is out of service: nothing can be sealed under it any more.
    Retired,
    /// This many rows are sealed under it; nothing was changed.
    InUse(u64),
    /// There is no such key.
    NotFound,
}

/// Who logged in by salted proofs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SaltedUsage {
    /// How many users ever did, as far as is known.
    pub users: u64,
    /// How many did since the instant that was asked about.
    pub recent_users: u64,
    /// When the last one did.
    pub last_login: Option<Timestamp>,
}

/// Which keys are in service, what is sealed under them, and whether salted dialects are: durable, and the same for
/// every process on this database.
#[async_trait]
pub trait KeyStore: Send + Sync {
    /// Every key in service.
    async fn keys(&self) -> Result<Vec<KeyRecord>>;

    /// Puts a key in service; `false` if one of this name is.
    async fn add_key(&self, key: &KeyRecord) -> Result<bool>;

    /// Stores the probe of a key that has none.
    async fn set_fingerprint(&self, name: &str, probe: &[u8]) -> Result<()>;

    /// Takes a key out of service unless something is sealed under it: in one step, so that nobody can seal meanwhile.
    async fn retire_key(&self, name: &str) -> Result<KeyRetirement>;

    /// How many users' digests and how many apps' secrets are sealed under each key.
    async fn count_rows_by_key(&self) -> Result<Vec<KeyUsage>>;

    /// Up to `limit` digests sealed under `key` of users with numbers above `after`, in order.
    async fn sealed_users(&self, key: KeyId, after: i64, limit: u32) -> Result<Vec<SealedUser>>;

    /// The apps whose secrets are sealed under `key`.
    async fn sealed_apps(&self, key: KeyId) -> Result<Vec<App>>;

    /// Replaces sealed digests, each if it still is what it was, all in one step. Gives how many were replaced.
    async fn reseal_users(&self, changes: &[ResealedUser]) -> Result<u64>;

    /// Replaces an app's sealed secret if it still is `old`. Gives whether it did.
    async fn reseal_app(&self, name: &str, old: &SealedSecret, new: &SealedSecret) -> Result<bool>;

    /// Since when salted dialects are ended, if they are.
    async fn salted_ended_at(&self) -> Result<Option<Timestamp>>;

    /// Ends salted dialects: once this returns, no process on this database can store a sealed digest, whatever it has
    /// heard. Gives whether they were not ended before.
    async fn end_salted(&self, now: Timestamp) -> Result<bool>;

    /// Takes [`KeyStore::end_salted`] back. Gives whether they were ended.
    async fn allow_salted(&self) -> Result<bool>;

    /// How many digests are sealed.
    async fn count_sealed_digests(&self) -> Result<u64>;

    /// Erases up to `limit` sealed digests. Gives how many.
    async fn erase_sealed_digests(&self, limit: u32) -> Result<u64>;

    /// Notes that these users logged in by salted proofs, at `at`.
    async fn record_salted_logins(&self, users: &[UserId], at: Timestamp) -> Result<()>;

    /// Who logged in by salted proofs, ever and since `since`.
    async fn salted_usage(&self, since: Timestamp) -> Result<SaltedUsage>;
}

/// Keeps a running process's keys those that are in service.
#[async_trait]
pub trait KeyRefresher: Send + Sync {
    /// Looks whether keys were put in service that this process does not know. Cheap to ask often: it looks once a
    /// second at most.
    async fn refresh_if_due(&self);

    /// Whether the key of this name is in service and missing in this process.
    fn is_key_missing(&self, key: &str) -> bool;

    /// Does what has to be done now and then, for as long as it is polled.
    async fn run_refresh_loop(&self);
}
