//! What the routes do: each calls one use case in the calling app's name.

use std::borrow::Cow;

use stele_core::app::App;
use stele_core::code::Purpose;
use stele_core::password::{NewPassword, RawPassword};
use stele_core::proof::Proof;
use stele_core::usecase::check_code::check_code;
use stele_core::usecase::reset_password::{ResetPassword, reset_password};
use stele_core::usecase::send_code::send_code;
use stele_core::usecase::{handover, login as entry, register as registration};
use stele_core::{Deps, Error};
use stele_web::Fault;

use crate::call::{Call, Said};
use crate::wire::{self, Reply};

/// POST /auth/register
pub(crate) async fn register(call: &Call, request: wire::Register) -> Said {
    let password = chosen(&call.deps, &request.password, "password")?;
    let wanted = registration::Register {
        to: &request.to,
        purpose: Purpose::Register,
        code: &request.code,
        password: &password,
        caller: &call.caller,
    };
    registration::register(&call.deps, wanted).await?;
    Ok(Reply::done())
}

/// POST /auth/login
pub(crate) async fn login(call: &Call, request: wire::Login) -> Said {
    let attempt = entry::Login {
        identifier: request.phone.text(),
        proof: Proof::Raw(request.password),
        caller: &call.caller,
        audience: entry::Audience::Everyone,
        challenge: entry::Challenge::Never,
        carrier: entry::Carrier::Presence,
    };
    match entry::login(&call.deps, attempt).await {
        Ok(_) => Ok(Reply::done()),
        // Elsewhere 40007 says so; a login must not.
        Err(Error::UnknownUser) => Err(Error::WrongPassword.into()),
        Err(error) => Err(error.into()),
    }
}

/// POST /auth/captcha
pub(crate) async fn captcha(call: &Call, request: wire::Captcha) -> Said {
    send_code(&call.deps, &call.caller, &request.to, request.purpose, request.sendable).await?;
    Ok(Reply::done())
}

/// POST /auth/forgot
pub(crate) async fn forgot(call: &Call, request: wire::Forgot) -> Said {
    let password = chosen(&call.deps, &request.password, "new_password")?;
    let wanted = ResetPassword {
        to: &request.to,
        purpose: Purpose::Reset,
        code: &request.code,
        password: &password,
        caller: &call.caller,
    };
    reset_password(&call.deps, wanted).await?;
    Ok(Reply::done())
}

/// POST /auth/token
pub(crate) async fn token(call: &Call, request: wire::GetToken) -> Said {
    // A database may balk at what cannot be a name; no app has an empty one.
    let to = if App::valid_name(&request.app_to) { request.app_to.as_str() } else { "" };
    let token = handover::issue(&call.deps, &call.caller, &call.app, to, &request.phone).await?;
    Ok(Reply::token(&token))
}

/// POST /auth/check/loginname
pub(crate) async fn check_loginname(call: &Call, request: wire::CheckLoginname) -> Said {
    Ok(match call.deps.users.find(request.phone.key()).await? {
        Some(account) => Reply::known(account.user),
        None => Reply::no(40005, "用户名不存在"),
    })
}

/// POST /auth/check/captcha
pub(crate) async fn check_captcha(call: &Call, request: wire::CheckCaptcha) -> Said {
    let purposes = [Purpose::Register, Purpose::Reset];
    check_code(&call.deps, &call.caller, &request.to, &purposes, &request.code).await?;
    Ok(Reply::done())
}

/// POST /auth/check/token
pub(crate) async fn check_token(call: &Call, request: wire::CheckToken) -> Said {
    let token = request.token.ok_or(Error::TicketRefused)?;
    let (user, app_from) = handover::redeem(&call.deps, &call.caller, &call.app, &token).await?;
    Ok(Reply::bearer(&user, app_from))
}

fn chosen(deps: &Deps, password: &RawPassword, field: &'static str) -> Result<NewPassword, Fault> {
    NewPassword::chosen(password, deps.policy.password_min).map_err(|_| Fault::Invalid(Cow::Borrowed(field)))
}
