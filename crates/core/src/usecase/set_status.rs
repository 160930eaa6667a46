//! Locking a user out, or letting them in again.

use super::watch::Watch;
use crate::event::Act;
use crate::user::{UserRef, UserStatus};
use crate::{Deps, Error, Result, UseCases};

impl UseCases {
    /// Locks a user out and ends every session, ticket and code of theirs, or lets them log in again.
    ///
    /// # Errors
    /// `UnknownUser`; faults of ours.
    pub async fn set_status(&self, user: UserRef, status: UserStatus) -> Result<()> {
        let act = match status {
            UserStatus::Active => Act::Enable,
            UserStatus::Disabled => Act::Disable,
        };
        let mut watch = Watch::administrative(&self.deps, act);
        let outcome = set(&self.deps, user, status, &mut watch).await;
        watch.end(outcome)
    }
}

async fn set(deps: &Deps, user: UserRef, status: UserStatus, watch: &mut Watch<'_>) -> Result<()> {
    let account = deps.users.find_ref(user).await?.ok_or(Error::UnknownUser)?;
    watch.concerns(account.user.id);
    let found = deps.users.set_status(account.user.id, status, deps.random.epoch()).await?;
    if found { Ok(()) } else { Err(Error::UnknownUser) }
}
