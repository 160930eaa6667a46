//! Reset of a forgotten password with a verification code (portal document, /i/resetpwd; MeFP document, 找回密码).

use super::audit_scope::AuditScope;
use super::check_code;
use super::new_password::check_new_password;
use super::{RequestInfo, credential};
use crate::code::{Code, CodeKey, CodePurpose};
use crate::event::Action;
use crate::identifier::Recipient;
use crate::password::NewPassword;
use crate::ports::OnCodeMatch;
use crate::user::User;
use crate::{Dependencies, Error, Result, UseCases};

/// A request to reset a forgotten password.
#[derive(Debug)]
pub struct ResetPasswordRequest<'a> {
    /// The phone number or e-mail address to which the code was sent.
    pub to: &'a Recipient,
    /// The purpose for which the code was sent.
    pub purpose: CodePurpose,
    /// The code.
    pub code: &'a Code,
    /// The new password.
    pub password: &'a NewPassword,
    /// The calling client or app.
    pub caller: &'a RequestInfo,
}

impl UseCases {
    /// Sets a new password and revokes every session, ticket and code of the user. Returns the user. The code is
    /// verified before `UnknownUser` or `Disabled` is returned, so that a client without a code cannot enumerate users.
    ///
    /// # Errors
    /// `CommonPassword`, `WrongCode`, `UnknownUser`, `Disabled`, `RateLimited`; `Busy`, `Unavailable`, `Internal`.
    pub async fn reset_password(&self, request: ResetPasswordRequest<'_>) -> Result<User> {
        let mut audit = AuditScope::start(&self.deps, Action::ResetPassword, request.caller);
        let outcome = verify_and_reset(&self.deps, request, &mut audit).await;
        audit.finish(outcome)
    }
}

async fn verify_and_reset(
    deps: &Dependencies,
    request: ResetPasswordRequest<'_>,
    audit: &mut AuditScope<'_>,
) -> Result<User> {
    let ResetPasswordRequest { to, purpose, code, password, caller } = request;
    check_new_password(deps, password, audit).await?;
    let account = deps.users.find_by_identifier(to.key()).await?;
    audit.set_account(account.as_ref());
    let attempt = caller.login_attempt(deps, account.as_ref(), to.key());
    let keys = [CodeKey::new(caller.dialect, purpose, to.key())];
    check_code::verify_code(deps, caller, &attempt, &keys, code, OnCodeMatch::Keep).await?;
    let account = account.filter(|account| account.user.owns_recipient(to)).ok_or(Error::UnknownUser)?;
    if account.user.disabled {
        return Err(Error::Disabled);
    }
    let new = credential::create(deps, account.user.id, password.as_digest()).await?;
    check_code::verify_code(deps, caller, &attempt, &keys, code, OnCodeMatch::Consume).await?;
    // If the epoch has changed, the password or the user's status was changed meanwhile, which revoked the code.
    let is_changed =
        deps.users.change_credential(account.user.id, account.epoch, deps.random.new_epoch(), &new).await?;
    if is_changed { Ok(account.user) } else { Err(Error::WrongCode) }
}
