//! Turns of accounts: the logins of one account ask one after the other.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::Arc;

use stele_core::ports::AccountTurn;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::client::QUESTION_TIMEOUT;

/// Number of locks. Accounts that share one wait for each other, which is rare with at most some hundred at once; which
/// accounts share one differs by process and cannot be predicted.
const LOCKS: usize = 4_096;

/// The turns of all accounts in this process.
pub(crate) struct AccountTurns {
    locks: Vec<Arc<Mutex<()>>>,
    hasher: RandomState,
}

impl Default for AccountTurns {
    fn default() -> Self {
        Self { locks: std::iter::repeat_with(Arc::default).take(LOCKS).collect(), hasher: RandomState::new() }
    }
}

impl AccountTurns {
    /// Waits for the turn of an account, at most [`QUESTION_TIMEOUT`].
    pub(crate) async fn take(&self, account: &str) -> Option<AccountTurn> {
        let index = usize::try_from(self.hasher.hash_one(account) % LOCKS as u64).ok()?;
        let lock = Arc::clone(self.locks.get(index)?);
        let turn = timeout(QUESTION_TIMEOUT, lock.lock_owned()).await.ok()?;
        Some(Box::new(turn))
    }
}
