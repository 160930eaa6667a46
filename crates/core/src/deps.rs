//! What every use case works with.

use std::sync::Arc;

use crate::hasher::Hasher;
use crate::mac::MacKey;
use crate::policy::Policy;
use crate::ports::{Delivery, Events, StateStore, UserStore};
use crate::random::Random;
use crate::seal::Sealer;
use crate::time::{Clock, Timestamp};

/// Stores, keys, rules, time and chance, bundled. Cheap to clone.
#[derive(Clone)]
pub struct Deps {
    /// Users, apps, client tokens.
    pub users: Arc<dyn UserStore>,
    /// Short-lived state.
    pub state: Arc<dyn StateStore>,
    /// Code delivery.
    pub delivery: Arc<dyn Delivery>,
    /// Who is told what happened.
    pub events: Arc<dyn Events>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub random: Arc<dyn Random>,
    /// Password hashing.
    pub hasher: Hasher,
    /// Seals digests and app secrets.
    pub sealer: Arc<Sealer>,
    /// Hashes codes and captcha answers.
    pub mac: Arc<MacKey>,
    /// The rules.
    pub policy: Arc<Policy>,
}

impl Deps {
    /// The present instant.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }
}
