//! Records which users log in with salted proofs. The records are collected in memory and stored in batches, at most
//! one a day for each user.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::Result;
use crate::ports::KeyStore;
use crate::time::Timestamp;
use crate::user::{Account, UserId};

/// How old a stored record must be before a login renews it.
const RECORD_INTERVAL: Duration = Duration::from_secs(86_400);
/// The most users that may be pending. A login of a further user is not recorded.
const MAX_PENDING: usize = 100_000;
/// How many users one statement stores.
const BATCH_SIZE: usize = 500;

/// The pending users: they have logged in with a salted proof, and their rows do not record it yet.
#[derive(Debug, Default)]
pub struct SaltedLoginRecorder(Mutex<BTreeSet<UserId>>);

impl SaltedLoginRecorder {
    /// Records a login with a salted proof to `account`, unless its row records one of the last 24 hours or too many
    /// users are pending.
    pub fn record(&self, account: &Account, now: Timestamp) {
        if account.salted_at.is_some_and(|at| now.saturating_duration_since(at) < RECORD_INTERVAL) {
            return;
        }
        let mut pending = self.lock_pending();
        if pending.len() < MAX_PENDING {
            pending.insert(account.user.id);
        }
    }

    /// Stores the records of the pending users. Users whose records could not be stored stay pending.
    ///
    /// # Errors
    /// `Unavailable`, `Internal`.
    pub async fn flush(&self, keys: &dyn KeyStore, now: Timestamp) -> Result<()> {
        loop {
            let batch: Vec<UserId> = self.lock_pending().iter().take(BATCH_SIZE).copied().collect();
            if batch.is_empty() {
                return Ok(());
            }
            keys.record_salted_logins(&batch, now).await?;
            self.lock_pending().retain(|user| batch.binary_search(user).is_err());
        }
    }

    fn lock_pending(&self) -> MutexGuard<'_, BTreeSet<UserId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::user::Credential;
    use crate::user::tests::user;

    const NOW: Timestamp = Timestamp::from_secs(1_500_000_000);

    fn user_id(n: usize) -> UserId {
        UserId::from_bytes(u128::try_from(n).unwrap().to_be_bytes())
    }

    fn account(n: usize, salted_at: Option<Timestamp>) -> Account {
        Account {
            user: user(user_id(n)),
            credential: Credential { verifier: String::new(), sealed: None },
            epoch: 0,
            salted_at,
            legacy: None,
        }
    }

    fn is_recorded(salted_at: Option<Timestamp>) -> bool {
        let logins = SaltedLoginRecorder::default();
        logins.record(&account(1, salted_at), NOW);
        logins.lock_pending().contains(&user_id(1))
    }

    #[test]
    fn a_login_is_recorded_once_a_day() {
        assert!(is_recorded(None));
        assert!(is_recorded(Some(NOW.saturating_sub(RECORD_INTERVAL))));
        assert!(is_recorded(Some(NOW.saturating_sub(2 * RECORD_INTERVAL))));
        assert!(!is_recorded(Some(NOW)));
        assert!(!is_recorded(Some(NOW.saturating_sub(RECORD_INTERVAL - Duration::from_secs(1)))));
    }

    #[test]
    fn the_pending_set_is_bounded() {
        let logins = SaltedLoginRecorder::default();
        logins.lock_pending().extend((0..MAX_PENDING - 1).map(user_id));
        for n in MAX_PENDING..MAX_PENDING + 3 {
            logins.record(&account(n, None), NOW);
        }
        assert_eq!(logins.lock_pending().len(), MAX_PENDING);
        assert!(logins.lock_pending().contains(&user_id(MAX_PENDING)));
    }
}
