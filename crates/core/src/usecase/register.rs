//! Opening an account with a code (portal document, 注册接口; MeFP document, 注册).

use super::check_code;
use super::watch::Watch;
use super::{Caller, credential, login};
use crate::code::{Code, CodeKey, Purpose};
use crate::event::Act;
use crate::identifier::Recipient;
use crate::password::NewPassword;
use crate::ports::CodeUse;
use crate::session::{NewSession, TokenKey};
use crate::user::{NewUser, Profile, Role, User, UserId};
use crate::{Deps, Error, Result, UseCases};

/// Someone who wants an account.
#[derive(Debug)]
pub struct Register<'a> {
    /// What they register with, and where their code went.
    pub to: &'a Recipient,
    /// The purpose the code was sent for.
    pub purpose: Purpose,
    /// The code.
    pub code: &'a Code,
    /// Their password.
    pub password: &'a NewPassword,
    /// By which door; through an app, they count as present there from now on.
    pub caller: &'a Caller,
}

impl UseCases {
    /// Opens an account. A wrong code is answered before a known user.
    ///
    /// # Errors
    /// `WrongCode`, `IdentifierTaken`, `TooMany`; `Busy` and faults of ours.
    pub async fn register(&self, request: Register<'_>) -> Result<User> {
        let mut watch = Watch::over(&self.deps, Act::Register, request.caller);
        let outcome = open_account(&self.deps, request, &mut watch).await;
        watch.end(outcome)
    }
}

async fn open_account(deps: &Deps, request: Register<'_>, watch: &mut Watch<'_>) -> Result<User> {
    let Register { to, purpose, code, password, caller } = request;
    let existing = deps.users.find(to.key()).await?;
    if let Some(existing) = &existing {
        watch.concerns(existing.user.id);
    }
    let attempt = caller.attempt(deps, existing.as_ref(), to.key());
    let keys = [CodeKey::new(caller.dialect, purpose, to.key())];
    check_code::guess(deps, caller, &attempt, &keys, code, CodeUse::Check).await?;
    if existing.is_some() {
        return Err(Error::IdentifierTaken);
    }
    // The code is used up only once nothing but the database can fail, so that a busy moment costs nobody a code.
    let new = new_user(deps, to, password, caller).await?;
    check_code::guess(deps, caller, &attempt, &keys, code, CodeUse::Consume).await?;
    let user = deps.users.add(&new).await?.ok_or(Error::IdentifierTaken)?;
    watch.concerns(user.id);
    if !caller.app.is_empty() {
        let session = login::new_session(deps, caller, user.id, 0);
        let key = TokenKey::presence(caller.dialect, &caller.app, user.id);
        deps.state.open_session(&NewSession { key, session, per_user: deps.policy.sessions_per_user }).await?;
    }
    Ok(user)
}

async fn new_user(deps: &Deps, to: &Recipient, password: &NewPassword, caller: &Caller) -> Result<NewUser> {
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
        credential: credential::make(deps, id, password.as_digest()).await?,
    })
}
