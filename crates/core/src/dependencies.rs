//! The dependencies of every use case, which the composition root passes to [`UseCases::new`].
//!
//! [`UseCases::new`]: crate::UseCases::new

use std::sync::Arc;

use zeroize::Zeroizing;

use crate::hasher::Hasher;
use crate::mac::MacKey;
use crate::oauth::OAuthRegistryCache;
use crate::policy::Policy;
use crate::ports::{Delivery, EventSink, KeyRefresher, LegacyUserStore, OldServers, StateStore, UserStore};
use crate::random::Random;
use crate::salted_logins::SaltedLoginRecorder;
use crate::seal::{SealedSecret, Sealer};
use crate::time::{Clock, Timestamp};
use crate::{Error, Result};

/// The stores, delivery, audit sink, hasher, keys, policy, clock and randomness of the use cases. Cheap to clone.
#[derive(Clone)]
pub struct Dependencies {
    /// The user store.
    pub users: Arc<dyn UserStore>,
    /// The state store.
    pub state: Arc<dyn StateStore>,
    /// Delivery of codes.
    pub delivery: Arc<dyn Delivery>,
    /// The old servers, which are asked about users who have no password yet.
    pub old_servers: Arc<dyn OldServers>,
    /// Users as the old servers know them.
    pub legacy_users: Arc<dyn LegacyUserStore>,
    /// The registered OAuth clients and resource servers.
    pub oauth_registry: Arc<OAuthRegistryCache>,
    /// The sink of audit events.
    pub events: Arc<dyn EventSink>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The source of randomness.
    pub random: Arc<dyn Random>,
    /// Password hashing.
    pub hasher: Hasher,
    /// Seals and opens users' digests and apps' secrets.
    pub sealer: Arc<Sealer>,
    /// Loads keys that are registered after the process started (key rotation).
    pub keys: Arc<dyn KeyRefresher>,
    /// Users whose salted logins are not stored yet.
    pub salted_logins: Arc<SaltedLoginRecorder>,
    /// The key of the keyed hashes of codes and captchas.
    pub mac: Arc<MacKey>,
    /// Rate limits, lifetimes and other rules that the configuration sets.
    pub policy: Arc<Policy>,
}

impl Dependencies {
    /// The current time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Whether salted proofs can be checked and digests are sealed: the configuration enables salted logins, and no
    /// administrator has disabled them with `stele challenge off`.
    pub fn salted_logins_enabled(&self) -> bool {
        self.policy.salted_logins_enabled && self.sealer.seals_digests()
    }

    /// Seals `secret` for the row that `context` names.
    pub fn seal(&self, context: &[u8], secret: &[u8]) -> SealedSecret {
        self.sealer.seal(self.now(), context, secret, self.random.as_ref())
    }

    /// Opens a secret that was sealed for `context`, perhaps by another process under a key that this one has not
    /// loaded yet.
    ///
    /// # Errors
    /// [`Error::Internal`] if the key is missing or wrong.
    pub async fn open(&self, context: &[u8], sealed: &SealedSecret) -> Result<Zeroizing<Vec<u8>>> {
        let mut opened = self.sealer.open(context, sealed);
        // Also on a wrong key: the number of a retired key may have been given to a new key.
        if opened.is_err() {
            self.keys.refresh_if_due().await;
            opened = self.sealer.open(context, sealed);
        }
        opened.map_err(Error::internal)
    }
}
