//! Logging in and out, and setting a new password.

use actix_web::HttpRequest;
use actix_web::web::Data;
use stele_core::password::NewPassword;
use stele_core::proof::Proof;
use stele_core::session::Token;
use stele_core::usecase::authenticate::authenticate;
use stele_core::usecase::grant_reset::grant_reset;
use stele_core::usecase::login::{self, Audience, Carrier, Challenge};
use stele_core::usecase::send_reset::send_reset;
use stele_core::usecase::set_password::{Authority, set_password};
use stele_core::usecase::{Caller, logout as end};
use stele_core::{Deps, Error, Result};
use stele_web::{ClientAddress, Dialect as _, Fault, Fields};

use crate::bearer::presented;
use crate::dialect::{Jwt, Reply, broken, refused};
use crate::tokens::{Tokens, is_jwt};
use crate::{Setup, wire};

/// 登录.
pub(crate) async fn login(
    request: HttpRequest,
    fields: Fields,
    ClientAddress(address): ClientAddress,
    deps: Data<Deps>,
    setup: Data<Setup>,
) -> Reply {
    let wire::Login { account, password, captcha } = (&merged(&request, fields)?).try_into()?;
    let login = login::Login {
        identifier: &account,
        proof: Proof::Raw(password),
        caller: &Caller::direct(Jwt::NAME, address),
        audience: Audience::Everyone,
        challenge: Challenge::Captcha(captcha),
        carrier: Carrier::Token,
    };
    let opened = login::login(&deps, login).await?;
    let token = setup.tokens.issue(&opened.session, &opened.token)?;
    Ok(wire::bearing("登录成功", Some(&opened.user), &token)?)
}

/// 登出.
pub(crate) async fn logout(request: HttpRequest, deps: Data<Deps>, setup: Data<Setup>) -> Reply {
    let ended = async {
        let session = session(&deps, &setup.tokens, presented(request.headers()).unwrap_or_default()).await?;
        end::logout(&deps, Jwt::NAME, &session).await
    };
    match ended.await {
        Ok(()) => Ok(wire::success("注销成功")),
        Err(error) => refused(error, "注销失败"),
    }
}

/// 忘记密码.
pub(crate) async fn forget_password(
    request: HttpRequest,
    fields: Fields,
    ClientAddress(address): ClientAddress,
    deps: Data<Deps>,
) -> Reply {
    let wire::ForgetPassword { account, to } = (&merged(&request, fields)?).try_into()?;
    match send_reset(&deps, &Caller::direct(Jwt::NAME, address), &account, &to).await {
        Ok(()) => Ok(wire::success("发送短信成功")),
        Err(error) => broken(error, "发送短信失败"),
    }
}

/// 验证手机.
pub(crate) async fn validate_phone(
    request: HttpRequest,
    fields: Fields,
    ClientAddress(address): ClientAddress,
    deps: Data<Deps>,
) -> Reply {
    let wire::ValidatePhone { account, code } = (&merged(&request, fields)?).try_into()?;
    let token = grant_reset(&deps, &Caller::direct(Jwt::NAME, address), &account, &code).await?;
    Ok(wire::bearing("验证码正确", None, token.expose())?)
}

/// 更新密码.
pub(crate) async fn update_password(
    request: HttpRequest,
    fields: Fields,
    ClientAddress(address): ClientAddress,
    deps: Data<Deps>,
    setup: Data<Setup>,
) -> Reply {
    let wire::UpdatePassword { account, password } = (&merged(&request, fields)?).try_into()?;
    // Before the token is looked at: a password that is refused must not use a reset token up.
    let password = NewPassword::chosen(&password, deps.policy.password_min).map_err(|_| wire::invalid("password"))?;
    let caller = Caller::direct(Jwt::NAME, address);
    let updated = async {
        let authority = authority(&deps, &setup.tokens, presented(request.headers())).await?;
        set_password(&deps, &caller, &account, &password, &authority).await
    };
    match updated.await {
        Ok(()) => Ok(wire::success("更新密码成功")),
        Err(error) => refused(error, "更新密码失败"),
    }
}

/// The parameters of a POST, from the body and the query string: the document calls some of them URL params, and its
/// samples send those in the body.
pub(crate) fn merged(request: &HttpRequest, mut fields: Fields) -> std::result::Result<Fields, Fault> {
    fields.add_urlencoded(request.query_string())?;
    Ok(fields)
}

/// What a token allows to set a password: a login token or a reset token, told apart by their form.
async fn authority(deps: &Deps, tokens: &Tokens, presented: Option<&str>) -> Result<Authority> {
    let text = presented.ok_or(Error::NotAuthenticated)?;
    if is_jwt(text) {
        return session(deps, tokens, text).await.map(Authority::Login);
    }
    Token::parse(text).map(Authority::Reset).ok_or(Error::NotAuthenticated)
}

/// The live session that a login token is of.
async fn session(deps: &Deps, tokens: &Tokens, jwt: &str) -> Result<Token> {
    if let Some(key) = tokens.unheard_of(jwt) {
        // Another process may sign with a key that was put in service since this one looked.
        deps.keys.look().await;
        if deps.keys.lacks(&key) {
            return Err(Error::internal(format!("the signing key {key} is missing here")));
        }
    }
    let bearer = tokens.verify(jwt, deps.now()).ok_or(Error::NotAuthenticated)?;
    let (session, _) = authenticate(deps, Jwt::NAME, &bearer.session).await?;
    if session.user.to_string() == bearer.user { Ok(bearer.session) } else { Err(Error::NotAuthenticated) }
}
