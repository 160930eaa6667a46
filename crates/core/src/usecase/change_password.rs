//! Changing a password by proving the old one (cloudbox document, 重置密码接口; TMS document, 修改密码).

use super::audit_scope::AuditScope;
use super::authenticate::authenticate;
use super::login::{AllowedUsers, AuthenticatedSession, new_session};
use super::new_password::check_new_password;
use super::proof_verification::{LimitCheck, ProofRequest, RepeatPolicy, verify_proof};
use super::{RequestInfo, credential};
use crate::event::Action;
use crate::password::NewPassword;
use crate::ports::{OriginTrustChange, SuccessEffects};
use crate::proof::Proof;
use crate::session::{NewSession, Token};
use crate::user::{Account, ClientUserId, Role};
use crate::{Dependencies, Error, Result, UseCases};

/// A request to change a password.
#[derive(Debug)]
pub struct ChangePasswordRequest<'a> {
    /// The user whose password changes, and what authorizes the change.
    pub authorization: PasswordChangeAuthorization<'a>,
    /// The proof of the old password.
    pub proof: Proof,
    /// The new password.
    pub password: NewPassword,
    /// The calling client or app.
    pub caller: &'a RequestInfo,
}

/// The user whose password changes, and what authorizes the change besides the proof of the old password.
#[derive(Clone, Copy, Debug)]
pub enum PasswordChangeAuthorization<'a> {
    /// The proof alone. A user's number does not name the user, because numbers are sequential and could be enumerated
    /// ([`ClientUserId::parse`]).
    ProofOnly(&'a ClientUserId),
    /// A valid session token, of the named user or of an administrator.
    WithToken(&'a ClientUserId, &'a Token),
}

impl UseCases {
    /// Changes a password, revokes every session, ticket and code of the user, and opens a new session.
    ///
    /// # Errors
    /// `CommonPassword`; `NotAuthenticated` if the token is invalid; `NotAllowed` if it is the token of another user
    /// who is not an administrator; the errors of [`UseCases::login`] for the proof of the old password; `WrongPassword`
    /// also if the password was changed meanwhile; `Busy`, `Unavailable`, `Internal`.
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
    let ChangePasswordRequest { authorization, proof, password, caller } = request;
    check_new_password(deps, &password, audit).await?;
    let (user, token) = match authorization {
        PasswordChangeAuthorization::ProofOnly(id) => (id, None),
        PasswordChangeAuthorization::WithToken(user, token) => (user, Some(token)),
    };
    let account = deps.users.find_for_client(caller.dialect, user).await?;
    audit.set_account(account.as_ref());
    if let Some(token) = token {
        let (_, bearer) = authenticate(deps, caller.dialect, token).await?;
        let is_own = account.as_ref().is_some_and(|account| account.user.id == bearer.user.id);
        if !is_own && bearer.user.role != Role::Admin {
            return Err(Error::NotAllowed);
        }
    }
    let attempt = caller.login_attempt(deps, account.as_ref(), user.legacy_key());
    let proof_request = ProofRequest {
        caller,
        identifier: None,
        account,
        attempt,
        proof: &proof,
        allowed_users: AllowedUsers::Everyone,
        limit_check: LimitCheck::Pending,
        repeat_policy: RepeatPolicy::NotAllowed,
    };
    let verified = verify_proof(deps, proof_request, |_| {
        (SuccessEffects { origin_trust: OriginTrustChange::Trust, ..SuccessEffects::default() }, ())
    })
    .await?;
    audit.set_action(Action::ChangePassword(verified.kind));
    let account = verified.account;

    // The verifier may just have been replaced by a rehash on login, so the epoch is compared, which changes only with
    // the password or the user's status.
    let new_credential = credential::create(deps, account.user.id, password.as_digest()).await?;
    let (token, epoch) = (Token::generate(deps.random.as_ref()), deps.random.new_epoch());
    // Before the change, so that a request that fails because the state store does has changed nothing. Until the
    // change is made, no account has this epoch, and the session is invalid.
    let session = new_session(deps, caller, account.user.id, epoch);
    let opened_session = NewSession { key: token.key(), session, max_per_user: deps.policy.sessions_per_user };
    deps.state.open_session(&opened_session).await?;
    if !deps.users.change_credential(account.user.id, account.epoch, epoch, &new_credential).await? {
        return Err(Error::WrongPassword);
    }
    let Account { user, legacy, .. } = account;
    Ok(AuthenticatedSession { user, legacy, token, session: opened_session.session })
}
