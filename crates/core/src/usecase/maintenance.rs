//! Background tasks of a service, health checks of the stores, readiness on the first start, and graceful shutdown.

use std::time::Duration;

use super::wrap_hashes::{WrapJob, WrapReport, wrap_hashes};
use crate::ports::VerifierStore;
use crate::time::Timestamp;
use crate::{Result, UseCases};

/// How many expired proofs one statement deletes. The bound keeps the write lock short, for which logins wait.
const BATCH_SIZE: u32 = 1_000;

impl UseCases {
    /// Health check of the user store.
    ///
    /// # Errors
    /// `Unavailable`, `Internal`.
    pub async fn ping_users(&self) -> Result<()> {
        self.deps.users.ping().await
    }

    /// Health check of the state store.
    ///
    /// # Errors
    /// `Unavailable`, `Internal`.
    pub async fn ping_state(&self) -> Result<()> {
        self.deps.state.ping().await
    }

    /// The last detected misconfiguration of the state store: the fault and the remedy; `None` if there is none.
    pub fn state_store_misconfiguration(&self) -> Option<String> {
        self.deps.state.misconfiguration()
    }

    /// Waits for the end of the second in which the state store was created. Proofs dated in that second are stale, so
    /// without the wait the first login could be rejected. Takes a second at most, and only on the first start.
    ///
    /// # Errors
    /// `Unavailable`, `Internal`.
    pub async fn wait_until_store_accepts_proofs(&self) -> Result<()> {
        let next_second = Timestamp::from_secs(self.deps.state.created_at().await?.as_secs() + 1);
        tokio::time::sleep(next_second.saturating_duration_since(self.deps.now()).min(Duration::from_secs(1))).await;
        Ok(())
    }

    /// Background tasks: deletes expired state and expired proofs, and loads newly registered keys. Runs until dropped.
    pub async fn run_background_tasks(&self) {
        tokio::join!(self.delete_expired_periodically(), self.deps.keys.run_refresh_loop());
    }

    /// Graceful shutdown: waits, for seconds at most, until queued codes are delivered or abandoned.
    pub async fn drain_deliveries(&self) {
        self.deps.delivery.drain().await;
    }

    /// Migration: wraps in argon2id the imported hashes that an earlier version stored unwrapped, one at a time, so
    /// that logins wait less for the hasher.
    ///
    /// # Errors
    /// `Unavailable`, `Internal`. Hashes wrapped before the error are kept.
    pub async fn wrap_hashes(&self, verifiers: &dyn VerifierStore) -> Result<WrapReport> {
        let (hasher, random, clock) = (&self.deps.hasher, self.deps.random.as_ref(), self.deps.clock.as_ref());
        wrap_hashes(&WrapJob { verifiers, hasher, random, clock, concurrency: 1 }, &mut |_| ()).await
    }

    async fn delete_expired_periodically(&self) {
        let mut minutes = tokio::time::interval(Duration::from_secs(60));
        // Where timestamps are checked, the user store has only proofs that were relayed to old servers, and those from
        // before the check was configured. Stop once these are deleted.
        let keeps_proofs = self.deps.policy.max_clock_skew.is_none() || !self.deps.old_servers.list().is_empty();
        let mut delete_proofs = true;
        loop {
            minutes.tick().await;
            if let Err(error) = self.deps.state.delete_expired(self.deps.now()).await {
                tracing::warn!(cause = %error, "cannot delete expired state; trying again in a minute");
            }
            if delete_proofs {
                let deletion = self.delete_expired_proofs().await;
                delete_proofs = keeps_proofs || deletion.is_err();
                if let Err(error) = deletion {
                    tracing::warn!(cause = %error, "cannot delete expired proofs; trying again in a minute");
                }
            }
        }
    }

    async fn delete_expired_proofs(&self) -> Result<()> {
        while self.deps.users.delete_expired_proofs(self.deps.now(), BATCH_SIZE).await? >= BATCH_SIZE.into() {}
        Ok(())
    }
}
