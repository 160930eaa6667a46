//! Logging in and out, and setting a new password.

use actix_web::HttpRequest;
use actix_web::web::Data;
use stele_core::proof::Proof;
use stele_core::session::Token;
use stele_core::usecase::Caller;
use stele_core::usecase::login::{Audience, Carrier, Challenge, Login};
use stele_core::usecase::set_password::Authority;
use stele_core::{Error, Result, UseCases};
use stele_dialect::{ClientAddress, Dialect as _, Fields};

use crate::bearer::presented;
use crate::dialect::{Jwt, Reply, broken, refused};
use crate::tokens::{Tokens, is_jwt};
use crate::{Setup, wire};

/// 登录.
pub(crate) async fn login(
    fields: Fields,
    ClientAddress(address): ClientAddress,
    use_cases: Data<UseCases>,
    setup: Data<Setup>,
) -> Reply {
    let wire::Login { account, password, captcha } = (&fields).try_into()?;
    let login = Login {
        identifier: &account,
        proof: Proof::Raw(password),
        caller: &Caller::direct(Jwt::NAME, address),
        audience: Audience::Everyone,
        challenge: Challenge::Captcha(captcha),
        carrier: Carrier::Token,
    };
    let opened = use_cases.login(login).await?;
    let token = setup.tokens.issue(&opened.session, &opened.token)?;
    Ok(wire::logged_in(&opened.user, &token)?)
}

/// 登出.
pub(crate) async fn logout(request: HttpRequest, use_cases: Data<UseCases>, setup: Data<Setup>) -> Reply {
    let ended = async {
        let live = async |jwt: &str| session(&use_cases, &setup.tokens, jwt).await;
        let session = first_accepted(&presented(request.headers()), live).await?;
        use_cases.logout(Jwt::NAME, &session).await
    };
    match ended.await {
        Ok(()) => Ok(wire::success("注销成功")),
        Err(error) => refused(error, "注销失败"),
    }
}

/// 忘记密码.
pub(crate) async fn forget_password(
    fields: Fields,
    ClientAddress(address): ClientAddress,
    use_cases: Data<UseCases>,
) -> Reply {
    let wire::ForgetPassword { account, to } = (&fields).try_into()?;
    match use_cases.send_reset(&Caller::direct(Jwt::NAME, address), &account, &to).await {
        Ok(()) => Ok(wire::success("发送短信成功")),
        Err(error) => broken(error, "发送短信失败"),
    }
}

/// 验证手机.
pub(crate) async fn validate_phone(
    fields: Fields,
    ClientAddress(address): ClientAddress,
    use_cases: Data<UseCases>,
) -> Reply {
    let wire::ValidatePhone { account, code } = (&fields).try_into()?;
    let token = use_cases.grant_reset(&Caller::direct(Jwt::NAME, address), &account, &code).await?;
    Ok(wire::granted(token.expose())?)
}

/// 更新密码.
pub(crate) async fn update_password(
    request: HttpRequest,
    fields: Fields,
    ClientAddress(address): ClientAddress,
    use_cases: Data<UseCases>,
    setup: Data<Setup>,
) -> Reply {
    let wire::UpdatePassword { account, password } = (&fields).try_into()?;
    // Before the token is looked at: a password that is refused must not use a reset token up.
    let password = use_cases.choose_password(&password).map_err(|_| wire::invalid("password"))?;
    let caller = Caller::direct(Jwt::NAME, address);
    let presented = presented(request.headers());
    let updated = first_accepted(&presented, async |token: &str| {
        let authority = authority(&use_cases, &setup.tokens, token).await?;
        use_cases.set_password(&caller, &account, &password, &authority).await
    });
    match updated.await {
        Ok(()) => Ok(wire::success("更新密码成功")),
        Err(error) => refused(error, "更新密码失败"),
    }
}

/// What a token allows to set a password: a login token or a reset token, told apart by their form.
async fn authority(use_cases: &UseCases, tokens: &Tokens, text: &str) -> Result<Authority> {
    if is_jwt(text) {
        return session(use_cases, tokens, text).await.map(Authority::Login);
    }
    Token::parse(text).map(Authority::Reset).ok_or(Error::NotAuthenticated)
}

/// The first outcome of `attempt` over `presented` that is not [`Error::NotAuthenticated`].
async fn first_accepted<T>(presented: &[&str], attempt: impl AsyncFn(&str) -> Result<T>) -> Result<T> {
    for token in presented {
        match attempt(token).await {
            Err(Error::NotAuthenticated) => {}
            outcome => return outcome,
        }
    }
    Err(Error::NotAuthenticated)
}

/// The live session that a login token is of.
async fn session(use_cases: &UseCases, tokens: &Tokens, jwt: &str) -> Result<Token> {
    if let Some(key) = tokens.unheard_of(jwt) {
        use_cases.take_up_key(&key).await?;
    }
    let bearer = tokens.verify(jwt, use_cases.now()).ok_or(Error::NotAuthenticated)?;
    let (session, _) = use_cases.authenticate(Jwt::NAME, &bearer.session).await?;
    if session.user.to_string() == bearer.user { Ok(bearer.session) } else { Err(Error::NotAuthenticated) }
}
