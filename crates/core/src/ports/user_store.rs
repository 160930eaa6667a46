//! The user store: accounts, apps, client tokens, and used proofs where timestamps are not checked. Durable.

use async_trait::async_trait;

use super::{ServerClock, UsedProof};
use crate::Result;
use crate::app::{App, ClientToken};
use crate::common_passwords::ListedPasswordKey;
use crate::session::DialectName;
use crate::time::Timestamp;
use crate::user::{Account, ClientUserId, Credential, NewUser, User, UserId, UserRef, UserStatus};

/// The durable store of users, apps and client tokens. A confirmed write survives a crash.
#[async_trait]
pub trait UserStore: Send + Sync {
    /// The account with this canonical identifier key: one indexed read.
    async fn find_by_identifier(&self, key: &str) -> Result<Option<Account>>;

    /// As [`UserStore::find_by_identifier`], with the user's [legacy ids](Account::legacy) in `dialect`: one statement.
    async fn find_for_login(&self, dialect: DialectName, key: &str) -> Result<Option<Account>>;

    /// The account that a client of `dialect` names so, with the user's legacy ids there: one statement. A legacy id of
    /// another dialect finds no account. For an unknown id the same is read as for a known one, because legacy ids can
    /// be counted through.
    async fn find_for_client(&self, dialect: DialectName, id: &ClientUserId) -> Result<Option<Account>>;

    /// The account with this id or number.
    async fn find_by_ref(&self, user: UserRef) -> Result<Option<Account>>;

    /// Stores a user under the next user number; `None` if one of the identifiers is taken.
    async fn add(&self, new: &NewUser) -> Result<Option<User>>;

    /// Replaces the credential and sets the epoch to `next` (from [`Random::new_epoch`]) if the epoch is still `epoch`.
    /// Returns `false` if the user is gone or another change came first.
    ///
    /// [`Random::new_epoch`]: crate::random::Random::new_epoch
    async fn change_credential(&self, user: UserId, epoch: i64, next: i64, new: &Credential) -> Result<bool>;

    /// Replaces the credential by one for the same password (rehash on login), if the epoch is still `epoch` and the
    /// verifier is still `old`; another process may have replaced it already. The epoch stays. Returns whether the
    /// credential was replaced.
    async fn upgrade_credential(&self, user: UserId, epoch: i64, old: &str, new: &Credential) -> Result<bool>;

    /// Disables or enables a user, and sets the epoch to `next`. Returns whether the user exists.
    async fn set_status(&self, user: UserId, status: UserStatus, next: i64) -> Result<bool>;

    /// Up to `limit` users with numbers above `after`, in the order of these numbers.
    async fn list(&self, after: i64, limit: u32) -> Result<Vec<User>>;

    /// Whether a password is in the operator's list of common passwords ([`PasswordListStore`]): one indexed read.
    ///
    /// [`PasswordListStore`]: super::PasswordListStore
    async fn is_password_listed(&self, key: ListedPasswordKey) -> Result<bool>;

    /// The app of this name.
    async fn find_app(&self, name: &str) -> Result<Option<App>>;

    /// Stores an app; `false` if the name is taken.
    async fn add_app(&self, app: &App) -> Result<bool>;

    /// The client token with this hash.
    async fn find_client_token(&self, hash: &[u8; 32]) -> Result<Option<ClientToken>>;

    /// Stores a client token; `false` if the name is taken.
    async fn add_client_token(&self, token: &ClientToken) -> Result<bool>;

    /// Records a proof as used; `false` if it was recorded already. This is replay protection where timestamps are not
    /// checked for freshness, because the state store cannot detect replays after it was emptied.
    async fn mark_proof_used(&self, proof: &UsedProof) -> Result<bool>;

    /// Undoes [`UserStore::mark_proof_used`] for a proof that was then rejected for another reason than a replay.
    async fn unmark_proof_used(&self, proof: &UsedProof) -> Result<()>;

    /// Deletes up to `limit` used proofs that have expired by `now`. Returns how many.
    async fn delete_expired_proofs(&self, now: Timestamp, limit: u32) -> Result<u64>;

    /// Health check: succeeds if the store answers.
    async fn ping(&self) -> Result<()>;

    /// The clock of the store's server, read within one round trip; empty for an embedded store, which has no other
    /// clock than this machine's.
    async fn server_clocks(&self) -> Result<Vec<ServerClock>>;
}
