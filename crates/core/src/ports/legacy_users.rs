//! The ids that users have at old servers, and the users whom an old server's answer adds.

use async_trait::async_trait;

use crate::Result;
use crate::old_server::LegacyId;
use crate::user::{NewUser, Profile, User, UserId};

/// Users as the old servers know them.
#[async_trait]
pub trait LegacyUserStore: Send + Sync {
    /// The ids of the user with this number at the old servers whose users were imported, or who were added by
    /// [`LegacyUserStore::add_with_legacy_id`]. A source whose map names no dialect has no old server.
    async fn list_legacy_ids(&self, user_number: i64) -> Result<Vec<LegacyId>>;

    /// Whether the user with this number was added by an import or by [`LegacyUserStore::add_with_legacy_id`], and not
    /// only joined by a row.
    async fn was_added_by_import(&self, user_number: i64) -> Result<bool>;

    /// Stores a user with the id that an old server has answered, both or neither; `None` if an identifier or the id is
    /// taken.
    async fn add_with_legacy_id(&self, new: &NewUser, legacy_id: &LegacyId) -> Result<Option<User>>;

    /// Fills those fields of a user's profile that are still empty.
    async fn fill_profile(&self, user: UserId, profile: &Profile) -> Result<()>;
}
