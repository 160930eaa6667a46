//! Background work and health of the stores: for the process that serves, not for its clients.

use std::time::Duration;

use super::wrap_hashes::{Wrapped, Wrapping, wrap_hashes};
use crate::ports::VerifierStore;
use crate::time::Timestamp;
use crate::{Result, UseCases};

/// How many used proofs are forgotten in one statement, so that logins get in between.
const BATCH: u32 = 1_000;

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
    pub fn state_defect(&self) -> Option<String> {
        self.deps.state.defect()
    }

    /// Waits until the second in which the short-lived store was born is over. Proofs dated in that second are stale,
    /// and the first client must not be refused for it. Takes a second at most, on the very first start.
    ///
    /// # Errors
    /// The store cannot say when it was born.
    pub async fn outlive_birth(&self) -> Result<()> {
        let over = Timestamp::from_secs(self.deps.state.birth().await?.as_secs() + 1);
        tokio::time::sleep(over.since(self.deps.now()).min(Duration::from_secs(1))).await;
        Ok(())
    }

    /// Background tasks: forgets what has expired, and keeps up with the keys in service. Runs until dropped.
    pub async fn maintain(&self) {
        tokio::join!(self.forget_expired(), self.deps.keys.keep_up());
    }

    /// Waits, for seconds at most, until the codes that were dispatched are delivered or given up.
    pub async fn drain_deliveries(&self) {
        self.deps.delivery.drain().await;
    }

    /// Wraps imported hashes that earlier builds stored as they came, one at a time: logins come first.
    ///
    /// # Errors
    /// Faults of ours. What was done so far is kept.
    pub async fn wrap_hashes(&self, verifiers: &dyn VerifierStore) -> Result<Wrapped> {
        let (hasher, random, clock) = (&self.deps.hasher, self.deps.random.as_ref(), self.deps.clock.as_ref());
        wrap_hashes(&Wrapping { verifiers, hasher, random, clock, at_once: 1 }, &mut |_| ()).await
    }

    async fn forget_expired(&self) {
        let mut minutes = tokio::time::interval(Duration::from_secs(60));
        // Where a skew is set there are none but those from before: looked for until none is found.
        let mut proofs = true;
        loop {
            minutes.tick().await;
            if let Err(cause) = self.deps.state.sweep(self.deps.now()).await {
                tracing::warn!(%cause, "what has expired could not be swept");
            }
            if proofs {
                let forgotten = self.forget_proofs().await;
                proofs = self.deps.policy.skew.is_none() || forgotten.is_err();
                if let Err(cause) = forgotten {
                    tracing::warn!(%cause, "used proofs that have expired could not be forgotten");
                }
            }
        }
    }

    async fn forget_proofs(&self) -> Result<()> {
        while self.deps.users.forget_proofs(self.deps.now(), BATCH).await? >= BATCH.into() {}
        Ok(())
    }
}
