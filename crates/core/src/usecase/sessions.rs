//! A user's sessions, for an administrator: listing them, and ending one or all.

use super::audit_scope::AuditScope;
use super::authenticate::find_account_of_session;
use crate::event::Action;
use crate::session::{SessionList, TokenKey};
use crate::user::{UserId, UserRef};
use crate::{Dependencies, Error, Result, UseCases};

impl UseCases {
    /// The sessions of a user that are valid now, newest first. Sessions that ended with a change of the password or
    /// with the disabling of the user are left out.
    ///
    /// # Errors
    /// `UnknownUser`; `Unavailable`, `Internal`.
    pub async fn list_sessions(&self, user: UserId) -> Result<SessionList> {
        let account = self.deps.users.find_by_ref(UserRef::Id(user)).await?.ok_or(Error::UnknownUser)?;
        let mut list = self.deps.state.list_sessions(user, self.deps.now()).await?;
        list.sessions.retain(|keyed| keyed.session.is_valid_for(&account));
        Ok(list)
    }

    /// Ends the session with this key, if it belongs to `user`, or to any user if that is `None`. Its token is invalid
    /// in its dialect at once.
    ///
    /// # Errors
    /// `NotAuthenticated` if there is no such session, or it is not valid any more; `Unavailable`, `Internal`.
    pub async fn end_session(&self, key: &TokenKey, user: Option<UserId>) -> Result<()> {
        let mut audit = AuditScope::start_for_administrator(&self.deps, Action::EndSession);
        let outcome = end_session(&self.deps, key, user, &mut audit).await;
        audit.finish(outcome)
    }

    /// Ends all sessions of a user. Returns how many had not expired, including those that were not valid any more.
    /// Later logins succeed: to prevent them, disable the user or change the password.
    ///
    /// # Errors
    /// `UnknownUser`; `Unavailable`, `Internal`: some sessions may have ended, and the call can be repeated.
    pub async fn end_sessions(&self, user: UserId) -> Result<u64> {
        let mut audit = AuditScope::start_for_administrator(&self.deps, Action::EndSession);
        let outcome = end_sessions(&self.deps, user, &mut audit).await;
        audit.finish(outcome)
    }
}

async fn end_session(
    deps: &Dependencies,
    key: &TokenKey,
    user: Option<UserId>,
    audit: &mut AuditScope<'_>,
) -> Result<()> {
    let session = deps.state.find_session(key, deps.now()).await?;
    let session = session.filter(|session| user.is_none_or(|user| user == session.user));
    let session = session.ok_or(Error::NotAuthenticated)?;
    audit.set_subject(session.user);
    let was_valid = find_account_of_session(deps, &session).await?.is_some();
    let was_ended = deps.state.end_session(key, session.user).await?;
    if was_valid && was_ended { Ok(()) } else { Err(Error::NotAuthenticated) }
}

async fn end_sessions(deps: &Dependencies, user: UserId, audit: &mut AuditScope<'_>) -> Result<u64> {
    let account = deps.users.find_by_ref(UserRef::Id(user)).await?.ok_or(Error::UnknownUser)?;
    audit.set_subject(account.user.id);
    deps.state.end_sessions(user, deps.now()).await
}
