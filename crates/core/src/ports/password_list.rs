//! The store of the operator's own list of common passwords.

use std::collections::HashSet;

use async_trait::async_trait;

use crate::Result;
use crate::common_passwords::ListedPasswordKey;

/// The operator's list, in the user store, so that every instance uses the same list at once. Lookups are
/// [`UserStore::is_password_listed`](super::UserStore::is_password_listed).
#[async_trait]
pub trait PasswordListStore: Send + Sync {
    /// Adds up to 2,000 passwords in one transaction. Returns how many were not in the list yet.
    async fn add_listed_passwords(&self, keys: &[ListedPasswordKey]) -> Result<u64>;

    /// Those of up to 500 keys that are in the list.
    async fn find_listed_passwords(&self, keys: &[ListedPasswordKey]) -> Result<HashSet<ListedPasswordKey>>;

    /// How many passwords are in the list.
    async fn count_listed_passwords(&self) -> Result<u64>;

    /// Removes up to `limit` passwords. Returns how many were removed.
    async fn remove_listed_passwords(&self, limit: u32) -> Result<u64>;
}
