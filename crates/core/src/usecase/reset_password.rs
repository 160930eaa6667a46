//! Setting a new password with a code (portal document, /i/resetpwd; MeFP document, 找回密码).

use super::check_code;
use super::watch::Watch;
use super::{Caller, credential};
use crate::code::{Code, CodeKey, Purpose};
use crate::event::Act;
use crate::identifier::Recipient;
use crate::password::NewPassword;
use crate::ports::CodeUse;
use crate::user::User;
use crate::{Deps, Error, Result, UseCases};

/// Someone who has forgotten their password.
#[derive(Debug)]
pub struct ResetPassword<'a> {
    /// Where their code went.
    pub to: &'a Recipient,
    /// The purpose the code was sent for.
    pub purpose: Purpose,
    /// The code.
    pub code: &'a Code,
    /// The new password.
    pub password: &'a NewPassword,
    /// By which door.
    pub caller: &'a Caller,
}

impl UseCases {
    /// Sets a new password and ends every session, ticket and code of the user. A wrong code is answered before an unknown
    /// user. Gives the user.
    ///
    /// # Errors
    /// `WrongCode`, `UnknownUser`, `Disabled`, `TooMany`; `Busy` and faults of ours.
    pub async fn reset_password(&self, request: ResetPassword<'_>) -> Result<User> {
        let mut watch = Watch::over(&self.deps, Act::ResetPassword, request.caller);
        let outcome = reset(&self.deps, request, &mut watch).await;
        watch.end(outcome)
    }
}

async fn reset(deps: &Deps, request: ResetPassword<'_>, watch: &mut Watch<'_>) -> Result<User> {
    let ResetPassword { to, purpose, code, password, caller } = request;
    let account = deps.users.find(to.key()).await?;
    if let Some(account) = &account {
        watch.concerns(account.user.id);
    }
    let attempt = caller.attempt(deps, account.as_ref(), to.key());
    let keys = [CodeKey::new(caller.dialect, purpose, to.key())];
    check_code::guess(deps, caller, &attempt, &keys, code, CodeUse::Check).await?;
    let account = account.filter(|account| account.user.is_reached_by(to)).ok_or(Error::UnknownUser)?;
    if account.user.disabled {
        return Err(Error::Disabled);
    }
    let new = credential::make(deps, account.user.id, password.as_digest()).await?;
    check_code::guess(deps, caller, &attempt, &keys, code, CodeUse::Consume).await?;
    // If the epoch has moved, someone changed the password meanwhile, and the code died with the old one.
    let changed = deps.users.change_credential(account.user.id, account.epoch, deps.random.epoch(), &new).await?;
    if changed { Ok(account.user) } else { Err(Error::WrongCode) }
}
