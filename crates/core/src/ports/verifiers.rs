//! The store of password verifiers, for the migration that wraps imported hashes in argon2id.

use async_trait::async_trait;

use crate::Result;
use crate::user::UserId;

/// A user whose verifier is an imported hash, stored unwrapped by an earlier version. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct UnwrappedHash {
    /// The user's number, by which pages are ordered.
    pub number: i64,
    /// The user.
    pub id: UserId,
    /// The verifier as stored.
    pub verifier: String,
}

impl std::fmt::Debug for UnwrappedHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "UnwrappedHash({}, …)", self.id)
    }
}

/// Access to the stored verifiers of many users at once.
#[async_trait]
pub trait VerifierStore: Send + Sync {
    /// How many users have an imported hash that an earlier version stored unwrapped.
    async fn count_unwrapped(&self) -> Result<u64>;

    /// Up to `limit` users with an unwrapped imported hash and numbers above `after`, in the order of these numbers.
    async fn list_unwrapped(&self, after: i64, limit: u32) -> Result<Vec<UnwrappedHash>>;

    /// Replaces, in one transaction, each verifier that is still [`UnwrappedHash::verifier`] by the given one, which is
    /// for the same password. Epochs stay. Returns how many verifiers were replaced.
    async fn replace_verifiers(&self, changes: &[(UnwrappedHash, String)]) -> Result<u64>;
}
