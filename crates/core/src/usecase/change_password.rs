//! Changing a password by proving the old one (cloudbox document, 重置密码接口; TMS document, 修改密码).

use super::authenticate::authenticate;
use super::login::{Audience, LoggedIn, new_session};
use super::prove::{Claim, LimitCheck, Repeats, prove};
use super::watch::Watch;
use super::{Caller, credential};
use crate::event::Act;
use crate::password::NewPassword;
use crate::ports::{OriginTrust, Success};
use crate::proof::Proof;
use crate::session::{NewSession, Token};
use crate::user::{Role, UserId, UserRef};
use crate::{Deps, Error, Result, UseCases};

/// A wish to change a password.
#[derive(Debug)]
pub struct ChangePassword<'a> {
    /// Whose.
    pub whose: Whose<'a>,
    /// The proof of the old password.
    pub proof: Proof,
    /// The new password.
    pub password: NewPassword,
    /// By which door.
    pub caller: &'a Caller,
}

/// Whose password is changed, and by what right beside the proof of the old one.
#[derive(Clone, Copy, Debug)]
pub enum Whose<'a> {
    /// By the proof alone: only by the UUID, for user numbers are sequential and could be tried one after another.
    Unauthenticated(UserId),
    /// With a live token of the same user or of an administrator.
    Authenticated(UserRef, &'a Token),
}

impl UseCases {
    /// Changes a password, ends every session, ticket and code of the user, and opens a fresh session.
    ///
    /// # Errors
    /// `NotAuthenticated` or `NotAllowed` if a token was given that is dead or another user's; what logging in may say of the old
    /// proof; `Busy` and faults of ours.
    pub async fn change_password(&self, request: ChangePassword<'_>) -> Result<LoggedIn> {
        let mut watch = Watch::over(&self.deps, Act::ChangePassword(request.proof.kind()), request.caller);
        let outcome = change(&self.deps, request, &mut watch).await;
        watch.end(outcome)
    }
}

async fn change(deps: &Deps, request: ChangePassword<'_>, watch: &mut Watch<'_>) -> Result<LoggedIn> {
    let ChangePassword { whose, proof, password, caller } = request;
    let (user, token) = match whose {
        Whose::Unauthenticated(id) => (UserRef::Id(id), None),
        Whose::Authenticated(user, token) => (user, Some(token)),
    };
    let account = deps.users.find_ref(user).await?;
    if let Some(account) = &account {
        watch.concerns(account.user.id);
    }
    if let Some(token) = token {
        let (_, bearer) = authenticate(deps, caller.dialect, token).await?;
        let own = account.as_ref().is_some_and(|account| account.user.id == bearer.user.id);
        if !own && bearer.user.role != Role::Admin {
            return Err(Error::NotAllowed);
        }
    }
    let key = match user {
        UserRef::Id(id) => id.to_string(),
        UserRef::Number(number) => number.to_string(),
    };
    let attempt = caller.attempt(deps, account.as_ref(), &key);
    let claim = Claim {
        account,
        attempt,
        proof: &proof,
        audience: Audience::Everyone,
        limit_check: LimitCheck::Pending,
        repeats: Repeats::Never,
    };
    let proven =
        prove(deps, claim, |_| (Success { origin_trust: OriginTrust::Trusted, ..Success::default() }, ())).await?;
    watch.is(Act::ChangePassword(proven.kind));
    let account = proven.account;

    // A foreign hash may just have been upgraded; the epoch tells whether it still is the same password.
    let new = credential::make(deps, account.user.id, password.as_digest()).await?;
    let (token, epoch) = (Token::generate(deps.random.as_ref()), deps.random.epoch());
    if !deps.users.change_credential(account.user.id, account.epoch, epoch, &new).await? {
        return Err(Error::WrongPassword);
    }
    let session = new_session(deps, caller, account.user.id, epoch);
    let new = NewSession { key: token.key(), session, per_user: deps.policy.sessions_per_user };
    deps.state.open_session(&new).await?;
    Ok(LoggedIn { user: account.user, token, session: new.session })
}
