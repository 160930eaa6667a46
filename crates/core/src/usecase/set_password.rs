//! Setting a new password without the old one, by a reset token or a recent login (JWT document, 更新密码).

use super::audit_scope::AuditScope;
use super::new_password::check_new_password;
use super::{RequestInfo, authenticate::authenticate, credential};
use crate::event::Action;
use crate::identifier::Identifier;
use crate::password::NewPassword;
use crate::session::{TicketKind, Token};
use crate::user::Account;
use crate::{Dependencies, Error, Result, UseCases};

/// The token that authorizes a new password.
#[derive(Debug)]
pub enum SetPasswordAuthorization {
    /// A one-time reset token, from [`super::grant_reset`].
    ResetToken(Token),
    /// The token of a session of the same account, opened within [`crate::policy::Policy::recent_login_max_age`].
    RecentLogin(Token),
}

impl UseCases {
    /// Sets the password of `account` and revokes every session, ticket and code of the user; with
    /// [`SetPasswordAuthorization::RecentLogin`] the session of the token stays. An attempt for an account other than
    /// the token's does not consume a reset token.
    ///
    /// # Errors
    /// `NotAuthenticated` for every fault of the account or the token, so that the response reveals nothing
    /// (user enumeration); `CommonPassword`, `Busy`, `Unavailable`, `Internal`.
    pub async fn set_password(
        &self,
        caller: &RequestInfo,
        account: &str,
        password: &NewPassword,
        authorization: &SetPasswordAuthorization,
    ) -> Result<()> {
        let mut audit = AuditScope::start(&self.deps, Action::SetPassword, caller);
        let outcome = authorize_and_set(&self.deps, caller, account, password, authorization, &mut audit).await;
        audit.finish(outcome)
    }
}

async fn authorize_and_set(
    deps: &Dependencies,
    caller: &RequestInfo,
    account: &str,
    password: &NewPassword,
    authorization: &SetPasswordAuthorization,
    audit: &mut AuditScope<'_>,
) -> Result<()> {
    check_new_password(deps, password, audit).await?;
    let parsed = Identifier::parse(account);
    let found = deps.users.find_by_identifier(parsed.as_ref().map_or("", Identifier::key)).await?;
    audit.set_account(found.as_ref());
    authorize(deps, caller, found.as_ref(), authorization).await?;
    let account = found.ok_or(Error::NotAuthenticated)?;
    let new = credential::create(deps, account.user.id, password.as_digest()).await?;
    let epoch = deps.random.new_epoch();
    if !deps.users.change_credential(account.user.id, account.epoch, epoch, &new).await? {
        return Err(Error::NotAuthenticated);
    }
    if let SetPasswordAuthorization::RecentLogin(token) = authorization {
        // The password is changed. Without this call the session has ended with the others of the user.
        if let Err(error) = deps.state.set_session_epoch(&token.key(), epoch).await {
            tracing::warn!(cause = %error, "the session that changed the password has ended; the user must log in again");
        }
    }
    Ok(())
}

/// Checks that the token authorizes a new password of `account`. The work for an unknown account is the same as for an
/// account to which the token does not belong (user enumeration).
///
/// # Errors
/// `NotAuthenticated`; `Unavailable`, `Internal`.
async fn authorize(
    deps: &Dependencies,
    caller: &RequestInfo,
    account: Option<&Account>,
    authorization: &SetPasswordAuthorization,
) -> Result<()> {
    let now = deps.now();
    let is_allowed = match authorization {
        SetPasswordAuthorization::ResetToken(token) => {
            let audience = account.map_or_else(|| "none".to_owned(), |account| account.user.id.to_string());
            let ticket = deps.state.redeem_ticket(&token.key(), TicketKind::Reset, &audience, now).await?;
            let has_same_epoch = |account: &Account| ticket.is_some_and(|ticket| ticket.epoch == account.epoch);
            account.is_some_and(|account| has_same_epoch(account) && !account.user.disabled)
        }
        SetPasswordAuthorization::RecentLogin(token) => {
            let (session, owner) = authenticate(deps, caller.dialect, token).await?;
            let is_recent = now.saturating_duration_since(session.created) <= deps.policy.recent_login_max_age;
            account.is_some_and(|account| account.user.id == owner.user.id) && is_recent
        }
    };
    if is_allowed { Ok(()) } else { Err(Error::NotAuthenticated) }
}
