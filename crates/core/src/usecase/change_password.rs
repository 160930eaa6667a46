//! Changing a password by proving the old one (cloudbox document, 重置密码接口; TMS document, 修改密码).

use super::audit_scope::AuditScope;
use super::authenticate::authenticate;
use super::login::{AllowedUsers, AuthenticatedSession, new_session};
use super::proof_verification::{LimitCheck, ProofRequest, RepeatPolicy, verify_proof};
use super::{RequestInfo, credential};
use crate::event::Action;
use crate::password::NewPassword;
use crate::ports::{OriginTrustChange, SuccessEffects};
use crate::proof::Proof;
use crate::session::{NewSession, Token};
use crate::user::{Role, UserId, UserRef};
use crate::{Dependencies, Error, Result, UseCases};

/// A wish to change a password.
#[derive(Debug)]
pub struct ChangePasswordRequest<'a> {
    /// Whose.
    pub target: PasswordChangeTarget<'a>,
    /// The proof of the old password.
    pub proof: Proof,
    /// The new password.
    pub password: NewPassword,
    /// By which door.
    pub caller: &'a RequestInfo,
}

/// Whose password is changed, and by what right beside the proof of the old one.
#[derive(Clone, Copy, Debug)]
pub enum PasswordChangeTarget<'a> {
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
    pub async fn change_password(&self, request: ChangePasswordRequest<'_>) -> Result<AuthenticatedSession> {
        let mut audit = AuditScope::start(&self.deps, Action::ChangePassword(request.proof.kind()), request.caller);
        let outcome = verify_and_change(&self.deps, request, &mut audit).await;
        audit.finish(outcome)
    }
}

async fn verify_and_change(
    deps: &Dependencies,
    request: ChangePasswordRequest<'_>,
    audit: &mut AuditScope<'_>,
) -> Result<AuthenticatedSession> {
    let ChangePasswordRequest { target: whose, proof, password, caller } = request;
    let (user, token) = match whose {
        PasswordChangeTarget::Unauthenticated(id) => (UserRef::Id(id), None),
        PasswordChangeTarget::Authenticated(user, token) => (user, Some(token)),
    };
    let account = deps.users.find_by_ref(user).await?;
    if let Some(account) = &account {
        audit.set_subject(account.user.id);
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
    let attempt = caller.login_attempt(deps, account.as_ref(), &key);
    let claim = ProofRequest {
        account,
        attempt,
        proof: &proof,
        allowed_users: AllowedUsers::Everyone,
        limit_check: LimitCheck::Pending,
        repeat_policy: RepeatPolicy::NotAllowed,
    };
    let proven = verify_proof(deps, claim, |_| {
        (SuccessEffects { origin_trust: OriginTrustChange::Trust, ..SuccessEffects::default() }, ())
    })
    .await?;
    audit.set_action(Action::ChangePassword(proven.kind));
    let account = proven.account;

    // A foreign hash may just have been upgraded; the epoch tells whether it still is the same password.
    let new = credential::create(deps, account.user.id, password.as_digest()).await?;
    let (token, epoch) = (Token::generate(deps.random.as_ref()), deps.random.new_epoch());
    if !deps.users.change_credential(account.user.id, account.epoch, epoch, &new).await? {
        return Err(Error::WrongPassword);
    }
    let session = new_session(deps, caller, account.user.id, epoch);
    let new = NewSession { key: token.key(), session, max_per_user: deps.policy.sessions_per_user };
    deps.state.open_session(&new).await?;
    Ok(AuthenticatedSession { user: account.user, token, session: new.session })
}
