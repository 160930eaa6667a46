//! Administration of a whole database: key rotation, salted logins, migration of imported hashes, the operator's list
//! of common passwords, the audit log, turning dialects off. OAuth clients and resource servers are in
//! [`super::oauth_registration`].
//!
//! [`Administration`] itself holds no key, so its commands can run when a key is lost. Resealing is given the keys that
//! it needs.

mod sunset;

use std::sync::Arc;

use super::disable_salted_logins::disable_salted_logins;
use super::lookup::find_user;
use super::new_password::{PasswordList, find_in_lists};
use super::reseal::{self, ResealJob, ResealReport};
use super::wrap_hashes::{WrapJob, WrapReport, wrap_hashes};
use crate::Result;
use crate::audit_log::{AuditLogEntry, AuditLogEntryId, AuditLogFilter, AuditLogOrder};
use crate::common_passwords::ListedPasswordKey;
use crate::event::{Action, Event, Outcome, Subject};
use crate::hasher::Hasher;
use crate::password::PasswordDigest;
use crate::ports::{
    AuditLogStore, ClosureStore, DialectUseStore, EventSink, KeyRecord, KeyRetirement, KeyStore, KeyUsage,
    OAuthRegistry, PasswordListStore, SaltedLoginUsage, UserStore, VerifierStore,
};
use crate::random::Random;
use crate::seal::Sealer;
use crate::time::{Clock, Timestamp};
use crate::user::User;
pub use sunset::UseReport;

/// The dependencies of [`Administration`].
pub struct AdministrationDependencies {
    /// The user store.
    pub users: Arc<dyn UserStore>,
    /// The key store.
    pub keys: Arc<dyn KeyStore>,
    /// The store of verifiers.
    pub verifiers: Arc<dyn VerifierStore>,
    /// The store of the operator's list of common passwords.
    pub password_list: Arc<dyn PasswordListStore>,
    /// The registry of OAuth clients and resource servers.
    pub oauth_registry: Arc<dyn OAuthRegistry>,
    /// The store of the audit log.
    pub audit_log: Arc<dyn AuditLogStore>,
    /// The store of the use of dialects.
    pub dialect_use: Arc<dyn DialectUseStore>,
    /// The store of the closures of dialects.
    pub closures: Arc<dyn ClosureStore>,
    /// The sink of audit events.
    pub events: Arc<dyn EventSink>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The source of randomness.
    pub random: Arc<dyn Random>,
}

/// The use cases of the `stele` command that work on a database as a whole. The methods fail with
/// [`Error::Unavailable`] or [`Error::Internal`] unless their documentation names other errors.
///
/// [`Error::Unavailable`]: crate::Error::Unavailable
/// [`Error::Internal`]: crate::Error::Internal
pub struct Administration {
    pub(super) deps: AdministrationDependencies,
}

#[expect(clippy::missing_errors_doc, reason = "the type's documentation names them for all methods")]
impl Administration {
    /// Use cases on these dependencies.
    pub fn new(deps: AdministrationDependencies) -> Self {
        Self { deps }
    }

    /// The current time.
    pub fn now(&self) -> Timestamp {
        self.deps.clock.now()
    }

    /// Finds a user by name, phone number or e-mail address, else by id or user number. Fails with `UnknownUser` if
    /// there is none.
    pub async fn find_user(&self, text: &str) -> Result<User> {
        find_user(self.deps.users.as_ref(), text).await
    }

    /// Up to `limit` entries of the audit log that match `filter`, in `order`, starting after the entry `after`.
    pub async fn audit_log(
        &self,
        filter: &AuditLogFilter,
        order: AuditLogOrder,
        after: Option<AuditLogEntryId>,
        limit: u32,
    ) -> Result<Vec<AuditLogEntry>> {
        self.deps.audit_log.list(filter, order, after, limit).await
    }

    /// Records an administrator's action and its outcome in the audit log.
    pub fn record(&self, action: Action, subject: Option<Subject>, outcome: Outcome) {
        self.deps.events.record(Event::by_administrator(self.now(), action, outcome, subject));
    }

    /// Every registered key.
    pub async fn keys(&self) -> Result<Vec<KeyRecord>> {
        self.deps.keys.keys().await
    }

    /// How many rows are sealed under each key.
    pub async fn count_rows_by_key(&self) -> Result<Vec<KeyUsage>> {
        self.deps.keys.count_rows_by_key().await
    }

    /// Registers a key. Returns `false` and changes nothing if a key of this name is registered already.
    pub async fn add_key(&self, key: &KeyRecord) -> Result<bool> {
        self.deps.keys.add_key(key).await
    }

    /// Retires a key unless a row is sealed under it.
    pub async fn retire_key(&self, name: &str) -> Result<KeyRetirement> {
        self.deps.keys.retire_key(name).await
    }

    /// How many rows are sealed under keys older than the active one.
    pub async fn count_pending_reseals(&self, sealer: &Sealer) -> Result<u64> {
        reseal::count_pending(&self.reseal_job(sealer)).await
    }

    /// Key rotation: reseals under the active key the rows that are sealed under older keys. `progress` receives the
    /// number of rows of each batch. Batches completed before an error are kept.
    pub async fn reseal(&self, sealer: &Sealer, progress: &mut (dyn FnMut(u64) + Send)) -> Result<ResealReport> {
        reseal::reseal(&self.reseal_job(sealer), progress).await
    }

    /// How many users logged in with salted proofs, ever and since `since`, and how many users have a sealed digest.
    pub async fn salted_login_usage(&self, since: Timestamp) -> Result<(SaltedLoginUsage, u64)> {
        Ok((self.deps.keys.salted_login_usage(since).await?, self.deps.keys.count_sealed_digests().await?))
    }

    /// Disables salted logins and erases every sealed digest. `progress` receives the number of rows of each batch.
    /// Returns how many digests were erased. An interrupted run can be repeated.
    pub async fn disable_salted_logins(&self, progress: &mut (dyn FnMut(u64) + Send)) -> Result<u64> {
        disable_salted_logins(self.deps.keys.as_ref(), self.deps.clock.as_ref(), progress).await
    }

    /// Enables salted logins again. Returns whether they were disabled.
    pub async fn enable_salted_logins(&self) -> Result<bool> {
        self.deps.keys.enable_salted_logins().await
    }

    /// How many users have an imported hash that an earlier version stored unwrapped.
    pub async fn count_pending_wraps(&self) -> Result<u64> {
        self.deps.verifiers.count_unwrapped().await
    }

    /// Migration: wraps in argon2id the imported hashes that an earlier version stored unwrapped, `concurrency` (1 to
    /// 256) at a time. `progress` receives the number of rows of each batch. Batches completed before an error are
    /// kept.
    pub async fn wrap_hashes(
        &self,
        hasher: &Hasher,
        concurrency: u32,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<WrapReport> {
        let (verifiers, random) = (self.deps.verifiers.as_ref(), self.deps.random.as_ref());
        let job = WrapJob { verifiers, hasher, random, clock: self.deps.clock.as_ref(), concurrency };
        wrap_hashes(&job, progress).await
    }

    /// The list of common passwords on which the password with this digest is; `None` if it is on neither.
    pub async fn find_in_password_lists(&self, digest: &PasswordDigest) -> Result<Option<PasswordList>> {
        find_in_lists(self.deps.users.as_ref(), digest).await
    }

    /// Adds up to 2,000 passwords to the operator's list of common passwords. Returns how many were not in it yet.
    pub async fn add_listed_passwords(&self, keys: &[ListedPasswordKey]) -> Result<u64> {
        self.deps.password_list.add_listed_passwords(keys).await
    }

    /// How many passwords are in the operator's list.
    pub async fn count_listed_passwords(&self) -> Result<u64> {
        self.deps.password_list.count_listed_passwords().await
    }

    /// Removes up to `limit` passwords from the operator's list. Returns how many were removed.
    pub async fn remove_listed_passwords(&self, limit: u32) -> Result<u64> {
        self.deps.password_list.remove_listed_passwords(limit).await
    }

    fn reseal_job<'a>(&'a self, sealer: &'a Sealer) -> ResealJob<'a> {
        let (keys, random) = (self.deps.keys.as_ref(), self.deps.random.as_ref());
        ResealJob { sealer, keys, random, clock: self.deps.clock.as_ref() }
    }
}
