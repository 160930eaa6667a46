//! Background work and health of the stores: for the process that serves, not for its clients.

use std::time::Duration;

use super::wrap_hashes::{WrapJob, WrapReport, wrap_hashes};
use crate::ports::VerifierStore;
use crate::time::Timestamp;
use crate::{Result, UseCases};

/// How many used proofs are forgotten in one statement, so that logins get in between.
const BATCH_SIZE: u32 = 1_000;

impl UseCases {
    /// Whether the users' database answers.
    ///
    /// # Errors
    /// Faults of ours.
    pub async fn ping_users(&self) -> Result<()> {
        self.deps.users.ping().await
    }

    /// Whether the store of short-lived state answers.
    ///
    /// # Errors
    /// Faults of ours.
    pub async fn ping_state(&self) -> Result<()> {
        self.deps.state.ping().await
    }

    /// What is wrong with the setup of the store of short-lived state: the fault and its remedy.
    pub fn state_store_misconfiguration(&self) -> Option<String> {
        self.deps.state.misconfiguration()
    }

    /// Waits until the second in which the short-lived store was born is over. Proofs dated in that second are stale,
    /// and the first client must not be refused for it. Takes a second at most, on the very first start.
    ///
    /// # Errors
    /// The store cannot say when it was born.
    pub async fn wait_until_store_accepts_proofs(&self) -> Result<()> {
        let over = Timestamp::from_secs(self.deps.state.created_at().await?.as_secs() + 1);
        tokio::time::sleep(over.saturating_duration_since(self.deps.now()).min(Duration::from_secs(1))).await;
        Ok(())
    }

    /// Background tasks: forgets what has expired, and keeps up with the keys in service. Runs until dropped.
    pub async fn run_background_tasks(&self) {
        tokio::join!(self.delete_expired_periodically(), self.deps.keys.run_refresh_loop());
    }

    /// Waits, for seconds at most, until the codes that were dispatched are delivered or given up.
    pub async fn drain_deliveries(&self) {
        self.deps.delivery.drain().await;
    }

    /// Wraps imported hashes that earlier builds stored as they came, one at a time: logins come first.
    ///
    /// # Errors
    /// Faults of ours. What was done so far is kept.
    pub async fn wrap_hashes(&self, verifiers: &dyn VerifierStore) -> Result<WrapReport> {
        let (hasher, random, clock) = (&self.deps.hasher, self.deps.random.as_ref(), self.deps.clock.as_ref());
        wrap_hashes(&WrapJob { verifiers, hasher, random, clock, concurrency: 1 }, &mut |_| ()).await
    }

    async fn delete_expired_periodically(&self) {
        let mut minutes = tokio::time::interval(Duration::from_secs(60));
        // Where a skew is set there are none but those from before: looked for until none is found.
        let mut delete_proofs = true;
        loop {
            minutes.tick().await;
            if let Err(cause) = self.deps.state.delete_expired(self.deps.now()).await {
                tracing::warn!(%cause, "what has expired could not be swept");
            }
            if delete_proofs {
                let forgotten = self.delete_expired_proofs().await;
                delete_proofs = self.deps.policy.max_clock_skew.is_none() || forgotten.is_err();
                if let Err(cause) = forgotten {
                    tracing::warn!(%cause, "used proofs that have expired could not be forgotten");
                }
            }
        }
    }

    async fn delete_expired_proofs(&self) -> Result<()> {
        while self.deps.users.delete_expired_proofs(self.deps.now(), BATCH_SIZE).await? >= BATCH_SIZE.into() {}
        Ok(())
    }
}
