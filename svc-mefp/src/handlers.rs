//! What the routes do: each calls one use case in the calling app's name.

use std::borrow::Cow;

use stele_core::code::Purpose;
use stele_core::password::{NewPassword, RawPassword};
use stele_core::proof::Proof;
use stele_core::usecase::reset_password::ResetPassword;
use stele_core::usecase::{login as entry, register as registration};
use stele_core::{Error, UseCases};
use stele_dialect::Fault;

use crate::call::{Call, Said};
use crate::wire::{self, Reply};

/// POST /auth/register
pub(crate) async fn register(call: &Call, request: wire::Register) -> Said {
    let password = chosen(&call.use_cases, &request.password, "password")?;
    let wanted = registration::Register {
        to: &request.to,
        purpose: Purpose::Register,
        code: &request.code,
        password: &password,
        caller: &call.caller,
    };
    call.use_cases.register(wanted).await?;
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
    match call.use_cases.login(attempt).await {
        Ok(_) => Ok(Reply::done()),
        // Elsewhere 40007 says so; a login must not.
        Err(Error::UnknownUser) => Err(Error::WrongPassword.into()),
        Err(error) => Err(error.into()),
    }
}

/// POST /auth/captcha
pub(crate) async fn captcha(call: &Call, request: wire::Captcha) -> Said {
    call.use_cases.send_code(&call.caller, &request.to, request.purpose, request.sendable).await?;
    Ok(Reply::done())
}

/// POST /auth/forgot
pub(crate) async fn forgot(call: &Call, request: wire::Forgot) -> Said {
    let password = chosen(&call.use_cases, &request.password, "new_password")?;
    let wanted = ResetPassword {
        to: &request.to,
        purpose: Purpose::Reset,
        code: &request.code,
        password: &password,
        caller: &call.caller,
    };
    call.use_cases.reset_password(wanted).await?;
    Ok(Reply::done())
}

/// POST /auth/token
pub(crate) async fn token(call: &Call, request: wire::GetToken) -> Said {
    let token = call.use_cases.issue_ticket(&call.caller, &call.app, &request.app_to, &request.phone).await?;
    Ok(Reply::token(&token))
}

/// POST /auth/check/loginname
pub(crate) async fn check_loginname(call: &Call, request: wire::CheckLoginname) -> Said {
    Ok(match call.use_cases.user_with_phone(&request.phone).await? {
        Some(user) => Reply::known(user),
        None => Reply::no(40005, "用户名不存在"),
    })
}

/// POST /auth/check/captcha
pub(crate) async fn check_captcha(call: &Call, request: wire::CheckCaptcha) -> Said {
    let purposes = [Purpose::Register, Purpose::Reset];
    call.use_cases.check_code(&call.caller, &request.to, &purposes, &request.code).await?;
    Ok(Reply::done())
}

/// POST /auth/check/token
pub(crate) async fn check_token(call: &Call, request: wire::CheckToken) -> Said {
    let token = request.token.ok_or(Error::TicketRefused)?;
    let (user, app_from) = call.use_cases.redeem_ticket(&call.caller, &call.app, &token).await?;
    Ok(Reply::bearer(&user, app_from))
}

fn chosen(use_cases: &UseCases, password: &RawPassword, field: &'static str) -> Result<NewPassword, Fault> {
    use_cases.choose_password(password).map_err(|_| Fault::Invalid(Cow::Borrowed(field)))
}
