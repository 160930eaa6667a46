//! Disabling or enabling a user (administrator).

use super::audit_scope::AuditScope;
use crate::event::Action;
use crate::user::{UserRef, UserStatus};
use crate::{Dependencies, Error, Result, UseCases};

impl UseCases {
    /// Disables a user and revokes every session, ticket and code of the user, or enables the user.
    ///
    /// # Errors
    /// `UnknownUser`; `Unavailable`, `Internal`.
    pub async fn set_status(&self, user: UserRef, status: UserStatus) -> Result<()> {
        let action = match status {
            UserStatus::Active => Action::Enable,
            UserStatus::Disabled => Action::Disable,
        };
        let mut audit = AuditScope::start_for_administrator(&self.deps, action);
        let outcome = change_status(&self.deps, user, status, &mut audit).await;
        audit.finish(outcome)
    }
}

async fn change_status(
    deps: &Dependencies,
    user: UserRef,
    status: UserStatus,
    audit: &mut AuditScope<'_>,
) -> Result<()> {
    let account = deps.users.find_by_ref(user).await?.ok_or(Error::UnknownUser)?;
    audit.set_subject(account.user.id);
    let found = deps.users.set_status(account.user.id, status, deps.random.new_epoch()).await?;
    if found { Ok(()) } else { Err(Error::UnknownUser) }
}
