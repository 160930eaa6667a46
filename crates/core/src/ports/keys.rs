//! The key store: which keys are registered, how many rows are sealed under each, and whether salted logins are
//! disabled.

use async_trait::async_trait;

use crate::Result;
use crate::app::App;
use crate::seal::{KeyId, SealedSecret};
use crate::time::Timestamp;
use crate::user::UserId;

/// The database's record of a registered key. The key material is only in the key's file, never in the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRecord {
    /// `seal-1`, `jwt-eddsa-1` or `mac`: the key file's name without its extension.
    pub name: String,
    /// Distinguishes the key from another of the same name; `None` for a key that an earlier version registered, until
    /// `stele migrate` has checked that the key decrypts a row.
    pub fingerprint: Option<Vec<u8>>,
    /// When the key was registered.
    pub added_at: Timestamp,
    /// From when on the key seals or signs. Before that time, the key only opens or verifies.
    pub active_from: Timestamp,
}

impl KeyRecord {
    /// The key's number if it is of the kind `kind` (`seal`, `jwt-eddsa`); `None` otherwise.
    pub fn number(&self, kind: &str) -> Option<KeyId> {
        parse_key_number(&self.name, kind)
    }
}

/// The number in the name of a key if it is of the kind `kind` (`seal`, `jwt-eddsa`); `None` otherwise.
pub fn parse_key_number(name: &str, kind: &str) -> Option<KeyId> {
    let digits = name.strip_prefix(kind)?.strip_prefix('-')?;
    digits.parse().ok().filter(|number: &KeyId| number.to_string() == digits)
}

/// A user's sealed digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedUser {
    /// The user's number, by which pages are ordered.
    pub number: i64,
    /// The user.
    pub id: UserId,
    /// The sealed digest.
    pub sealed: SealedSecret,
}

/// A replacement of a user's sealed digest by the same digest sealed under another key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResealedUser {
    /// The user.
    pub id: UserId,
    /// The sealed digest that the row must still hold for the replacement to happen.
    pub old: SealedSecret,
    /// The sealed digest that replaces the old one.
    pub new: SealedSecret,
}

/// How many rows are sealed under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyUsage {
    /// The key.
    pub key: KeyId,
    /// The number of users whose digests are sealed under the key.
    pub users: u64,
    /// The number of apps whose secrets are sealed under the key.
    pub apps: u64,
}

/// The result of retiring a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyRetirement {
    /// The key is no longer registered, so no row can be sealed under it any more.
    Retired,
    /// This many rows are sealed under the key, which stays registered.
    InUse(u64),
    /// No key of this name is registered.
    NotFound,
}

/// How many users log in with salted proofs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SaltedLoginUsage {
    /// Users who have ever done so, as far as the database has recorded it.
    pub users: u64,
    /// Users who have done so since the given time.
    pub recent_users: u64,
    /// The time of the last recorded login with a salted proof; `None` if there was none.
    pub last_login: Option<Timestamp>,
}

/// The registry of keys, the rows sealed under them, and whether salted logins are disabled. Durable, and shared by
/// every process on this database.
#[async_trait]
pub trait KeyStore: Send + Sync {
    /// Every registered key, of every kind.
    async fn keys(&self) -> Result<Vec<KeyRecord>>;

    /// Registers a key. Returns `false` and changes nothing if a key of this name is registered already.
    async fn add_key(&self, key: &KeyRecord) -> Result<bool>;

    /// Stores the fingerprint of a key that has none.
    async fn set_fingerprint(&self, name: &str, fingerprint: &[u8]) -> Result<()>;

    /// Retires a key unless a row is sealed under it. The check and the removal are one atomic step, so no row can be
    /// sealed under the key meanwhile.
    async fn retire_key(&self, name: &str) -> Result<KeyRetirement>;

    /// How many rows are sealed under each key.
    async fn count_rows_by_key(&self) -> Result<Vec<KeyUsage>>;

    /// Up to `limit` digests that are sealed under `key`, of users with numbers above `after`, in the order of these
    /// numbers.
    async fn sealed_users(&self, key: KeyId, after: i64, limit: u32) -> Result<Vec<SealedUser>>;

    /// The apps whose secrets are sealed under `key`.
    async fn sealed_apps(&self, key: KeyId) -> Result<Vec<App>>;

    /// Replaces, in one transaction, each sealed digest that is still [`ResealedUser::old`]. Returns how many were
    /// replaced.
    async fn reseal_users(&self, changes: &[ResealedUser]) -> Result<u64>;

    /// Replaces an app's sealed secret if it is still `old`. Returns whether it was.
    async fn reseal_app(&self, name: &str, old: &SealedSecret, new: &SealedSecret) -> Result<bool>;

    /// When salted logins were disabled; `None` if they are enabled.
    async fn salted_logins_disabled_at(&self) -> Result<Option<Timestamp>>;

    /// Disables salted logins. Once this returns, no process on this database can store a sealed digest, even a process
    /// that still considers salted logins enabled. Returns `false` if they were disabled already.
    async fn disable_salted_logins(&self, now: Timestamp) -> Result<bool>;

    /// Undoes [`KeyStore::disable_salted_logins`]. Returns whether salted logins were disabled.
    async fn enable_salted_logins(&self) -> Result<bool>;

    /// How many users have a sealed digest.
    async fn count_sealed_digests(&self) -> Result<u64>;

    /// Erases up to `limit` sealed digests. Returns how many.
    async fn erase_sealed_digests(&self, limit: u32) -> Result<u64>;

    /// Records that these users logged in with salted proofs at `at`.
    async fn record_salted_logins(&self, users: &[UserId], at: Timestamp) -> Result<()>;

    /// How many users logged in with salted proofs, ever and since `since`.
    async fn salted_login_usage(&self, since: Timestamp) -> Result<SaltedLoginUsage>;
}

/// Key rotation in a running process: loads newly registered keys and drops retired ones.
#[async_trait]
pub trait KeyRefresher: Send + Sync {
    /// Loads keys that were registered since the last refresh. Refreshes at most once a second, so it may be called
    /// often.
    async fn refresh_if_due(&self);

    /// Whether the key of this name is registered but could not be loaded by this process.
    fn is_key_missing(&self, key: &str) -> bool;

    /// Refreshes periodically, and stores the pending records of salted logins. Runs until dropped.
    async fn run_refresh_loop(&self);
}
