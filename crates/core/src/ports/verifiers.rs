//! The store of password verifiers, for the migration that wraps imported hashes in argon2id.

use async_trait::async_trait;

use crate::Result;
use crate::user::UserId;

/// A user whose verifier is an imported hash, stored unwrapped by an earlier version. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct UnwrappedHash {
    /// The user's number; pages are in this order.
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

/// Bulk access to verifiers.
#[async_trait]
pub trait VerifierStore: Send + Sync {
    /// How many users have an unwrapped imported hash.
    async fn count_unwrapped(&self) -> Result<u64>;

    /// Up to `limit` of these users with numbers above `after`, in order.
    async fn list_unwrapped(&self, after: i64, limit: u32) -> Result<Vec<UnwrappedHash>>;

    /// Replaces each user's verifier by the given one, which is for the same password, if it is still the one that was
    /// read. One transaction; epochs stay. Returns how many were replaced.
    async fn replace_verifiers(&self, changes: &[(UnwrappedHash, String)]) -> Result<u64>;
}
