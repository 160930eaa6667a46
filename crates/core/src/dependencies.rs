//! What every use case works with, as the composition root hands it to [`UseCases::new`].
//!
//! [`UseCases::new`]: crate::UseCases::new

use std::sync::Arc;

use zeroize::Zeroizing;

use crate::hasher::Hasher;
use crate::mac::MacKey;
use crate::policy::Policy;
use crate::ports::{Delivery, EventSink, KeyRefresher, StateStore, UserStore};
use crate::random::Random;
use crate::salted_logins::SaltedLoginRecorder;
use crate::seal::{SealedSecret, Sealer};
use crate::time::{Clock, Timestamp};
use crate::{Error, Result};

/// Stores, keys, rules, time and chance, bundled. Cheap to clone.
#[derive(Clone)]
pub struct Dependencies {
    /// Users, apps, client tokens.
    pub users: Arc<dyn UserStore>,
    /// Short-lived state.
    pub state: Arc<dyn StateStore>,
    /// Code delivery.
    pub delivery: Arc<dyn Delivery>,
    /// Who is told what happened.
    pub events: Arc<dyn EventSink>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub random: Arc<dyn Random>,
    /// Password hashing.
    pub hasher: Hasher,
    /// Seals digests and app secrets.
    pub sealer: Arc<Sealer>,
    /// Keeps the keys those that are in service.
    pub keys: Arc<dyn KeyRefresher>,
    /// Who logged in by salted proofs, until it is stored.
    pub salted_logins: Arc<SaltedLoginRecorder>,
    /// Hashes codes and captcha answers.
    pub mac: Arc<MacKey>,
    /// The rules.
    pub policy: Arc<Policy>,
}

impl Dependencies {
    /// The present instant.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Whether digests are sealed and salted proofs can be checked: the configuration says so, and nobody ended it.
    pub fn salted_logins_enabled(&self) -> bool {
        self.policy.salted_logins_enabled && self.sealer.seals_digests()
    }

    /// Seals `secret` for the row that `context` names.
    pub fn seal(&self, context: &[u8], secret: &[u8]) -> SealedSecret {
        self.sealer.seal(self.now(), context, secret, self.random.as_ref())
    }

    /// Opens what was sealed for `context`, perhaps by another process under a key that this one has not heard of.
    ///
    /// # Errors
    /// A fault of ours: the key is missing or wrong.
    pub async fn open(&self, context: &[u8], sealed: &SealedSecret) -> Result<Zeroizing<Vec<u8>>> {
        let mut opened = self.sealer.open(context, sealed);
        // A key of a number that was taken back is another key.
        if opened.is_err() {
            self.keys.refresh_if_due().await;
            opened = self.sealer.open(context, sealed);
        }
        opened.map_err(Error::internal)
    }
}
