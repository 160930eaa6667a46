//! Registration of an account with a verification code (portal document, 注册接口; MeFP document, 注册).

use super::audit_scope::AuditScope;
use super::check_code;
use super::new_password::check_new_password;
use super::{RequestInfo, credential, login};
use crate::code::{Code, CodeKey, CodePurpose};
use crate::event::Action;
use crate::identifier::Recipient;
use crate::password::NewPassword;
use crate::ports::OnCodeMatch;
use crate::session::{NewSession, TokenKey};
use crate::user::{NewUser, Profile, Role, User, UserId};
use crate::{Dependencies, Error, Result, UseCases};

/// A request to register.
#[derive(Debug)]
pub struct RegisterRequest<'a> {
    /// The phone number or e-mail address to register with, to which the code was sent.
    pub to: &'a Recipient,
    /// The purpose for which the code was sent.
    pub purpose: CodePurpose,
    /// The code.
    pub code: &'a Code,
    /// The new password.
    pub password: &'a NewPassword,
    /// The calling client or app. A user who registers through an app is logged in there.
    pub caller: &'a RequestInfo,
}

impl UseCases {
    /// Registers an account. The code is verified before `IdentifierTaken` is returned, so that a client without a code
    /// cannot learn whether an identifier is taken (user enumeration).
    ///
    /// # Errors
    /// `CommonPassword`, `WrongCode`, `IdentifierTaken`, `RateLimited`; `Busy`, `Unavailable`, `Internal`.
    pub async fn register(&self, request: RegisterRequest<'_>) -> Result<User> {
        let mut audit = AuditScope::start(&self.deps, Action::Register, request.caller);
        let outcome = create_account(&self.deps, request, &mut audit).await;
        audit.finish(outcome)
    }
}

async fn create_account(deps: &Dependencies, request: RegisterRequest<'_>, audit: &mut AuditScope<'_>) -> Result<User> {
    let RegisterRequest { to, purpose, code, password, caller } = request;
    check_new_password(deps, password, audit).await?;
    let existing = deps.users.find_by_identifier(to.key()).await?;
    audit.set_account(existing.as_ref());
    let attempt = caller.login_attempt(deps, existing.as_ref(), to.key());
    let keys = [CodeKey::new(caller.dialect, purpose, to.key())];
    check_code::verify_code(deps, caller, &attempt, &keys, code, OnCodeMatch::Keep).await?;
    if existing.is_some() {
        return Err(Error::IdentifierTaken);
    }
    let new = new_user(deps, to, password, caller).await?;
    if !caller.app.is_empty() {
        // Opened before the user is added, so that a failure of the state store adds no user: until then, the session's
        // user does not exist.
        let session = login::new_session(deps, caller, new.id, 0);
        let key = TokenKey::app_bound(caller.dialect, &caller.app, new.id);
        deps.state.open_session(&NewSession { key, session, max_per_user: deps.policy.sessions_per_user }).await?;
    }
    // The code is consumed only when nothing but the database can fail, so that a request that is answered `Busy` does
    // not use up the code.
    check_code::verify_code(deps, caller, &attempt, &keys, code, OnCodeMatch::Consume).await?;
    let user = deps.users.add(&new).await?.ok_or(Error::IdentifierTaken)?;
    audit.set_subject(user.id);
    Ok(user)
}

async fn new_user(
    deps: &Dependencies,
    to: &Recipient,
    password: &NewPassword,
    caller: &RequestInfo,
) -> Result<NewUser> {
    let id = UserId::from_random(deps.random.bits128());
    let (phone, email) = match to {
        Recipient::Phone(phone) => (Some(phone.clone()), None),
        Recipient::Email(email) => (None, Some(email.clone())),
    };
    Ok(NewUser {
        id,
        name: None,
        phone,
        email,
        registered_with: Some(to.identifier().text().to_owned()),
        registered_through: caller.app.clone(),
        registered_at: deps.now(),
        alias_id: deps.random.hex128(),
        role: Role::User,
        profile: Profile::default(),
        credential: credential::create(deps, id, password.as_digest()).await?,
    })
}
