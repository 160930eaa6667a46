//! The key store: which keys are in service, what is sealed under them, and whether salted logins have ended.

use async_trait::async_trait;

use crate::Result;
use crate::app::App;
use crate::seal::{KeyId, SealedSecret};
use crate::time::Timestamp;
use crate::user::UserId;

/// The database's record of a key in service. It never holds the key itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRecord {
    /// `seal-1`, `jwt-eddsa-1` or `mac`: the key file's name without its extension.
    pub name: String,
    /// Distinguishes the key from another of the same name; `None` until the key was seen to open a row.
    pub fingerprint: Option<Vec<u8>>,
    /// When it was put in service.
    pub added_at: Timestamp,
    /// From when on it seals or signs; before, it only opens or verifies.
    pub works_from: Timestamp,
}

impl KeyRecord {
    /// Its number, if it is a key of this kind: `seal`, `jwt-eddsa`.
    pub fn number(&self, kind: &str) -> Option<KeyId> {
        let text = self.name.strip_prefix(kind)?.strip_prefix('-')?;
        text.parse().ok().filter(|number: &KeyId| number.to_string() == text)
    }
}

/// A user's sealed digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedUser {
    /// The user's number; pages are in this order.
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

/// The result of taking a key out of service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyRetirement {
    /// The key is out of service: nothing can be sealed under it any more.
    Retired,
    /// This many rows are sealed under the key; nothing was changed.
    InUse(u64),
    /// There is no such key.
    NotFound,
}

/// How many users log in with salted proofs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SaltedUsage {
    /// How many users ever did, as far as the database has recorded it.
    pub users: u64,
    /// How many did since the given time.
    pub recent_users: u64,
    /// When the last of them did.
    pub last_login: Option<Timestamp>,
}

/// The registry of keys, of what is sealed under them, and of whether salted logins have ended. Durable, and the same
/// for every process on this database.
#[async_trait]
pub trait KeyStore: Send + Sync {
    /// Every key in service.
    async fn keys(&self) -> Result<Vec<KeyRecord>>;

    /// Puts a key in service; `false` if a key of this name is in service already.
    async fn add_key(&self, key: &KeyRecord) -> Result<bool>;

    /// Stores the fingerprint of a key that has none.
    async fn set_fingerprint(&self, name: &str, fingerprint: &[u8]) -> Result<()>;

    /// Takes a key out of service unless something is sealed under it. One atomic step, so that nothing can be sealed
    /// under it meanwhile.
    async fn retire_key(&self, name: &str) -> Result<KeyRetirement>;

    /// How many rows are sealed under each key.
    async fn count_rows_by_key(&self) -> Result<Vec<KeyUsage>>;

    /// Up to `limit` digests that are sealed under `key`, of users with numbers above `after`, in order.
    async fn sealed_users(&self, key: KeyId, after: i64, limit: u32) -> Result<Vec<SealedUser>>;

    /// The apps whose secrets are sealed under `key`.
    async fn sealed_apps(&self, key: KeyId) -> Result<Vec<App>>;

    /// Replaces those sealed digests that are still [`ResealedUser::old`], in one transaction. Returns how many.
    async fn reseal_users(&self, changes: &[ResealedUser]) -> Result<u64>;

    /// Replaces an app's sealed secret if it is still `old`. Returns whether it was.
    async fn reseal_app(&self, name: &str, old: &SealedSecret, new: &SealedSecret) -> Result<bool>;

    /// When salted logins were ended, if they were.
    async fn salted_ended_at(&self) -> Result<Option<Timestamp>>;

    /// Ends salted logins: once this returns, no process on this database can store a sealed digest, even one that has
    /// not learned of it yet. Returns `false` if they had ended before.
    async fn end_salted(&self, now: Timestamp) -> Result<bool>;

    /// Undoes [`KeyStore::end_salted`]. Returns whether salted logins had been ended.
    async fn allow_salted(&self) -> Result<bool>;

    /// How many users have a sealed digest.
    async fn count_sealed_digests(&self) -> Result<u64>;

    /// Erases up to `limit` sealed digests. Returns how many.
    async fn erase_sealed_digests(&self, limit: u32) -> Result<u64>;

    /// Records that these users logged in with salted proofs at `at`.
    async fn record_salted_logins(&self, users: &[UserId], at: Timestamp) -> Result<()>;

    /// How many users logged in with salted proofs, ever and since `since`.
    async fn salted_usage(&self, since: Timestamp) -> Result<SaltedUsage>;
}

/// Keeps a process's keys equal to those in service (key rotation).
#[async_trait]
pub trait KeyRefresher: Send + Sync {
    /// Loads keys that were put in service since the last refresh. Refreshes at most once a second, so it may be called
    /// often.
    async fn refresh_if_due(&self);

    /// Whether the key of this name is in service but could not be loaded by this process.
    fn is_key_missing(&self, key: &str) -> bool;

    /// Refreshes periodically. Runs until dropped.
    async fn run_refresh_loop(&self);
}
