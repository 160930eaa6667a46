//! What an administrator does beside the services: keys, salted logins, imported hashes, the audit trail.
//!
//! Opening it needs no sealing or signing key, so these commands work where one is lost.

use std::sync::Arc;

use super::end_salted::end_salted;
use super::lookup::find_user;
use super::reseal::{self, ResealJob, ResealReport};
use super::wrap_hashes::{WrapJob, WrapReport, wrap_hashes};
use crate::Result;
use crate::audit_log::{AuditLogEntry, AuditLogEntryId, AuditLogFilter, AuditLogOrder};
use crate::event::{Action, Event, Outcome, Subject};
use crate::hasher::Hasher;
use crate::ports::{
    AuditLogStore, EventSink, KeyRecord, KeyRetirement, KeyStore, KeyUsage, SaltedUsage, UserStore, VerifierStore,
};
use crate::random::Random;
use crate::seal::Sealer;
use crate::time::{Clock, Timestamp};
use crate::user::User;

/// What [`Administration`] is made of.
pub struct AdministrationDependencies {
    /// Users.
    pub users: Arc<dyn UserStore>,
    /// Keys in service.
    pub keys: Arc<dyn KeyStore>,
    /// Imported hashes.
    pub verifiers: Arc<dyn VerifierStore>,
    /// The audit trail, to be read.
    pub audit_log: Arc<dyn AuditLogStore>,
    /// Takes note of what was done.
    pub events: Arc<dyn EventSink>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub random: Arc<dyn Random>,
}

/// The use cases of the `stele` command that work on a database as a whole. Every error is a fault of ours unless its
/// method says otherwise.
pub struct Administration {
    deps: AdministrationDependencies,
}

#[expect(clippy::missing_errors_doc, reason = "the type says it of all")]
impl Administration {
    /// Use cases on these stores.
    pub fn new(deps: AdministrationDependencies) -> Self {
        Self { deps }
    }

    /// The present instant.
    pub fn now(&self) -> Timestamp {
        self.deps.clock.now()
    }

    /// A user by name, phone or e-mail address, else by id or number; or `UnknownUser`.
    pub async fn find_user(&self, text: &str) -> Result<User> {
        find_user(self.deps.users.as_ref(), text).await
    }

    /// Up to `limit` entries of the audit trail that `filter` lets through, after the one named `after`.
    pub async fn audit_log(
        &self,
        filter: &AuditLogFilter,
        order: AuditLogOrder,
        after: Option<AuditLogEntryId>,
        limit: u32,
    ) -> Result<Vec<AuditLogEntry>> {
        self.deps.audit_log.list(filter, order, after, limit).await
    }

    /// Takes down in the audit trail what was done, and how it ended.
    pub fn record(&self, act: Action, subject: Option<Subject>, outcome: Outcome) {
        self.deps.events.record(Event::by_administrator(self.now(), act, outcome, subject));
    }

    /// Every key in service.
    pub async fn keys(&self) -> Result<Vec<KeyRecord>> {
        self.deps.keys.keys().await
    }

    /// How many users' digests and how many apps' secrets are sealed under each key.
    pub async fn count_rows_by_key(&self) -> Result<Vec<KeyUsage>> {
        self.deps.keys.count_rows_by_key().await
    }

    /// Puts a key in service; `false` if one of this name is.
    pub async fn add_key(&self, key: &KeyRecord) -> Result<bool> {
        self.deps.keys.add_key(key).await
    }

    /// Takes a key out of service unless something is sealed under it.
    pub async fn retire_key(&self, name: &str) -> Result<KeyRetirement> {
        self.deps.keys.retire_key(name).await
    }

    /// How many rows are sealed under older keys than the one that seals.
    pub async fn count_pending_reseals(&self, sealer: &Sealer) -> Result<u64> {
        reseal::count_pending(&self.reseal_job(sealer)).await
    }

    /// Seals again, under the newest key, what is sealed under older ones; `progress` learns of each step how many rows
    /// it saw. What was done before an error is kept.
    pub async fn reseal(&self, sealer: &Sealer, progress: &mut (dyn FnMut(u64) + Send)) -> Result<ResealReport> {
        reseal::reseal(&self.reseal_job(sealer), progress).await
    }

    /// Who logged in by salted proofs, ever and since `since`; and how many digests are sealed.
    pub async fn salted_usage(&self, since: Timestamp) -> Result<(SaltedUsage, u64)> {
        Ok((self.deps.keys.salted_usage(since).await?, self.deps.keys.count_sealed_digests().await?))
    }

    /// Ends salted dialects and erases every sealed digest; `progress` learns how many at a time. It may be stopped
    /// anywhere and run again.
    pub async fn end_salted(&self, progress: &mut (dyn FnMut(u64) + Send)) -> Result<u64> {
        end_salted(self.deps.keys.as_ref(), self.deps.clock.as_ref(), progress).await
    }

    /// Allows salted dialects again. Gives whether they were ended.
    pub async fn allow_salted(&self) -> Result<bool> {
        self.deps.keys.allow_salted().await
    }

    /// How many users have an imported hash as earlier builds stored it.
    pub async fn count_pending_wraps(&self) -> Result<u64> {
        self.deps.verifiers.count_unwrapped().await
    }

    /// Wraps those hashes in argon2id, `at_once` (1 to 256) at a time; `progress` learns of each step how many rows it
    /// saw. What was done before an error is kept.
    pub async fn wrap_hashes(
        &self,
        hasher: &Hasher,
        concurrency: u32,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<WrapReport> {
        let (verifiers, random) = (self.deps.verifiers.as_ref(), self.deps.random.as_ref());
        let work = WrapJob { verifiers, hasher, random, clock: self.deps.clock.as_ref(), concurrency };
        wrap_hashes(&work, progress).await
    }

    fn reseal_job<'a>(&'a self, sealer: &'a Sealer) -> ResealJob<'a> {
        let (keys, random) = (self.deps.keys.as_ref(), self.deps.random.as_ref());
        ResealJob { sealer, keys, random, clock: self.deps.clock.as_ref() }
    }
}
