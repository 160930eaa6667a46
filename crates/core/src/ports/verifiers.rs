//! Imported hashes that earlier builds stored as they came.

use async_trait::async_trait;

use crate::Result;
use crate::user::UserId;

/// A user whose verifier is an imported hash as earlier builds stored it. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct UnwrappedHash {
    /// The user's number, by which they are in order.
    pub number: i64,
    /// The user.
    pub id: UserId,
    /// The verifier, as stored.
    pub verifier: String,
}

impl std::fmt::Debug for UnwrappedHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EarlierHash({}, …)", self.id)
    }
}

/// The verifiers of all users, for what is done to many of them at once.
#[async_trait]
pub trait VerifierStore: Send + Sync {
    /// How many users have an imported hash as earlier builds stored it.
    async fn count_unwrapped(&self) -> Result<u64>;

    /// Up to `limit` of them with numbers above `after`, in order.
    async fn list_unwrapped(&self, after: i64, limit: u32) -> Result<Vec<UnwrappedHash>>;

    /// Gives each of these users the verifier beside, for the same password, if theirs still is the one that was read;
    /// all in one step. The epochs stay. Gives how many were replaced.
    async fn replace_verifiers(&self, changes: &[(UnwrappedHash, String)]) -> Result<u64>;
}
