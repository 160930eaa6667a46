//! Who logs in by salted proofs: noted beside the login and stored later, in batches, at most once a user and day.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::Result;
use crate::ports::KeyStore;
use crate::time::Timestamp;
use crate::user::{Account, UserId};

/// For how long a stored note is good enough.
const RECORD_INTERVAL: Duration = Duration::from_secs(86_400);
/// How many wait at most; more are not noted, and are at their next login.
const MAX_PENDING: usize = 100_000;
/// How many are stored at once.
const BATCH_SIZE: usize = 500;

/// The users whose rows do not say yet that they logged in by a salted proof today.
#[derive(Debug, Default)]
pub struct SaltedLoginRecorder(Mutex<BTreeSet<UserId>>);

impl SaltedLoginRecorder {
    /// Notes that `account` was logged in to, unless its row says so already.
    pub fn record(&self, account: &Account, now: Timestamp) {
        if account.salted_at.is_some_and(|at| now.saturating_duration_since(at) < RECORD_INTERVAL) {
            return;
        }
        let mut waiting = self.pending();
        if waiting.len() < MAX_PENDING {
            waiting.insert(account.user.id);
        }
    }

    /// Stores what was noted. What could not be stored waits for the next time.
    ///
    /// # Errors
    /// Faults of ours.
    pub async fn flush(&self, keys: &dyn KeyStore, now: Timestamp) -> Result<()> {
        loop {
            let batch: Vec<UserId> = self.pending().iter().take(BATCH_SIZE).copied().collect();
            if batch.is_empty() {
                return Ok(());
            }
            keys.record_salted_logins(&batch, now).await?;
            self.pending().retain(|user| batch.binary_search(user).is_err());
        }
    }

    fn pending(&self) -> MutexGuard<'_, BTreeSet<UserId>> {
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
        }
    }

    fn is_recorded(salted_at: Option<Timestamp>) -> bool {
        let logins = SaltedLoginRecorder::default();
        logins.record(&account(1, salted_at), NOW);
        logins.pending().contains(&user_id(1))
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
        logins.pending().extend((0..MAX_PENDING - 1).map(user_id));
        for n in MAX_PENDING..MAX_PENDING + 3 {
            logins.record(&account(n, None), NOW);
        }
        assert_eq!(logins.pending().len(), MAX_PENDING);
        assert!(logins.pending().contains(&user_id(MAX_PENDING)));
    }
}
