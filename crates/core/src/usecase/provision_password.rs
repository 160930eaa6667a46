//! Setting a user's password (administrator).

use super::audit_scope::AuditScope;
use super::credential;
use super::new_password::check_new_password;
use crate::event::Action;
use crate::password::NewPassword;
use crate::user::UserRef;
use crate::{Dependencies, Error, Result, UseCases};

/// How many times to try when another change of the same user comes first.
const MAX_ATTEMPTS: usize = 5;

impl UseCases {
    /// Sets a password and revokes every session, ticket and code of the user. `Unavailable` also if other changes of
    /// the user come first each time.
    ///
    /// # Errors
    /// `CommonPassword`, `UnknownUser`; `Busy`, `Unavailable`, `Internal`.
    pub async fn provision_password(&self, user: UserRef, password: &NewPassword) -> Result<()> {
        let mut audit = AuditScope::start_for_administrator(&self.deps, Action::ProvisionPassword);
        let outcome = set_with_retry(&self.deps, user, password, &mut audit).await;
        audit.finish(outcome)
    }
}

async fn set_with_retry(
    deps: &Dependencies,
    user: UserRef,
    password: &NewPassword,
    audit: &mut AuditScope<'_>,
) -> Result<()> {
    check_new_password(deps, password, audit).await?;
    for _ in 0..MAX_ATTEMPTS {
        let account = deps.users.find_by_ref(user).await?.ok_or(Error::UnknownUser)?;
        audit.set_subject(account.user.id);
        let new = credential::create(deps, account.user.id, password.as_digest()).await?;
        if deps.users.change_credential(account.user.id, account.epoch, deps.random.new_epoch(), &new).await? {
            return Ok(());
        }
    }
    Err(Error::unavailable("another change of this user came first each time; try again"))
}
