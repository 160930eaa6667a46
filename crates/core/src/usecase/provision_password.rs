//! Setting a user's password as an administrator.

use super::credential;
use super::watch::Watch;
use crate::event::Act;
use crate::password::NewPassword;
use crate::user::UserRef;
use crate::{Deps, Error, Result, UseCases};

/// How often a change that loses a race against another is tried again.
const TRIES: usize = 5;

impl UseCases {
    /// Sets a password and ends every session, ticket and code of the user.
    ///
    /// # Errors
    /// `UnknownUser`; `Busy` and faults of ours.
    pub async fn provision_password(&self, user: UserRef, password: &NewPassword) -> Result<()> {
        let mut watch = Watch::administrative(&self.deps, Act::ProvisionPassword);
        let outcome = set(&self.deps, user, password, &mut watch).await;
        watch.end(outcome)
    }
}

async fn set(deps: &Deps, user: UserRef, password: &NewPassword, watch: &mut Watch<'_>) -> Result<()> {
    for _ in 0..TRIES {
        let account = deps.users.find_ref(user).await?.ok_or(Error::UnknownUser)?;
        watch.concerns(account.user.id);
        let new = credential::make(deps, account.user.id, password.as_digest()).await?;
        if deps.users.change_credential(account.user.id, account.epoch, deps.random.epoch(), &new).await? {
            return Ok(());
        }
    }
    Err(Error::unavailable("the password kept changing meanwhile"))
}
