//! Who logs in by salted proofs: noted beside the login and stored later, in batches, at most once a user and day.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::Result;
use crate::ports::KeyStore;
use crate::time::Timestamp;
use crate::user::{Account, UserId};

/// For how long a stored note is good enough.
const FRESH: Duration = Duration::from_secs(86_400);
/// How many wait at most; more are not noted, and are at their next login.
const MOST: usize = 100_000;
/// How many are stored at once.
const BATCH: usize = 500;

/// The users whose rows do not say yet that they logged in by a salted proof today.
#[derive(Debug, Default)]
pub struct SaltedLogins(Mutex<BTreeSet<UserId>>);

impl SaltedLogins {
    /// Notes that `account` was logged in to, unless its row says so already.
    pub fn note(&self, account: &Account, now: Timestamp) {
        if account.salted_at.is_some_and(|at| now.since(at) < FRESH) {
            return;
        }
        let mut waiting = self.waiting();
        if waiting.len() < MOST {
            waiting.insert(account.user.id);
        }
    }

    /// Stores what was noted. What could not be stored waits for the next time.
    ///
    /// # Errors
    /// Faults of ours.
    pub async fn store(&self, keys: &dyn KeyStore, now: Timestamp) -> Result<()> {
        loop {
            let batch: Vec<UserId> = self.waiting().iter().take(BATCH).copied().collect();
            if batch.is_empty() {
                return Ok(());
            }
            keys.note_salted(&batch, now).await?;
            self.waiting().retain(|user| batch.binary_search(user).is_err());
        }
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeSet<UserId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::user::Credential;
    use crate::user::tests::user;

    const NOW: Timestamp = Timestamp::from_secs(1_500_000_000);

    fn id(n: usize) -> UserId {
        UserId::from_bytes(u128::try_from(n).unwrap().to_be_bytes())
    }

    fn account(n: usize, salted_at: Option<Timestamp>) -> Account {
        Account {
            user: user(id(n)),
            credential: Credential { verifier: String::new(), sealed: None },
            epoch: 0,
            salted_at,
        }
    }

    fn is_noted(salted_at: Option<Timestamp>) -> bool {
        let logins = SaltedLogins::default();
        logins.note(&account(1, salted_at), NOW);
        logins.waiting().contains(&id(1))
    }

    #[test]
    fn a_login_is_noted_once_a_day() {
        assert!(is_noted(None));
        assert!(is_noted(Some(NOW.before(FRESH))));
        assert!(is_noted(Some(NOW.before(2 * FRESH))));
        assert!(!is_noted(Some(NOW)));
        assert!(!is_noted(Some(NOW.before(FRESH - Duration::from_secs(1)))));
    }

    #[test]
    fn no_more_than_so_many_wait() {
        let logins = SaltedLogins::default();
        logins.waiting().extend((0..MOST - 1).map(id));
        for n in MOST..MOST + 3 {
            logins.note(&account(n, None), NOW);
        }
        assert_eq!(logins.waiting().len(), MOST);
        assert!(logins.waiting().contains(&id(MOST)));
    }
}
