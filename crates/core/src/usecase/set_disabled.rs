//! Locking a user out, or letting them in again.

use super::watch::Watch;
use crate::event::Act;
use crate::user::UserRef;
use crate::{Deps, Error, Result};

/// Locks a user out and ends every session, ticket and code of theirs, or lets them log in again.
///
/// # Errors
/// `UnknownUser`; faults of ours.
pub async fn set_disabled(deps: &Deps, user: UserRef, disabled: bool) -> Result<()> {
    let mut watch = Watch::administrative(deps, if disabled { Act::Disable } else { Act::Enable });
    let outcome = set(deps, user, disabled, &mut watch).await;
    watch.end(outcome)
}

async fn set(deps: &Deps, user: UserRef, disabled: bool, watch: &mut Watch<'_>) -> Result<()> {
    let account = deps.users.find_ref(user).await?.ok_or(Error::UnknownUser)?;
    watch.concerns(account.user.id);
    let done = deps.users.set_disabled(account.user.id, disabled, deps.random.epoch()).await?;
    if done { Ok(()) } else { Err(Error::UnknownUser) }
}
