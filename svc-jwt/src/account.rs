//! Logging in and out, and setting a new password.

use actix_web::HttpRequest;
use actix_web::web::Data;
use stele_core::proof::Proof;
use stele_core::session::Token;
use stele_core::usecase::RequestInfo;
use stele_core::usecase::login::{AllowedUsers, Challenge, LoginRequest, SessionTransport};
use stele_core::usecase::set_password::SetPasswordAuthorization;
use stele_core::{Error, Result, UseCases};
use stele_dialect::{ClientAddress, Dialect as _, Fields};

use crate::dialect::{HandlerResult, Jwt, server_error_response, token_error_response};
use crate::presented_tokens::tokens_from_headers;
use crate::tokens::{TokenManager, is_jwt};
use crate::{DialectState, wire};

/// 登录.
pub(crate) async fn login(
    fields: Fields,
    ClientAddress(address): ClientAddress,
    use_cases: Data<UseCases>,
    setup: Data<DialectState>,
) -> HandlerResult {
    let wire::LoginRequest { account, password, captcha } = (&fields).try_into()?;
    let login = LoginRequest {
        identifier: &account,
        proof: Proof::Raw(password),
        caller: &RequestInfo::from_client(Jwt::NAME, address),
        allowed_users: AllowedUsers::Everyone,
        challenge: Challenge::Captcha(captcha),
        transport: SessionTransport::Token,
    };
    let opened = use_cases.login(login).await?;
    let token = setup.tokens.issue(&opened.session, &opened.token)?;
    Ok(wire::login_response(&opened.user, &token)?)
}

/// 登出.
pub(crate) async fn logout(
    request: HttpRequest,
    use_cases: Data<UseCases>,
    setup: Data<DialectState>,
) -> HandlerResult {
    let ended = async {
        let live = async |jwt: &str| live_session_token(&use_cases, &setup.tokens, jwt).await;
        let session = first_accepted(&tokens_from_headers(request.headers()), live).await?;
        use_cases.logout(Jwt::NAME, &session).await
    };
    match ended.await {
        Ok(()) => Ok(wire::success_response("注销成功")),
        Err(error) => token_error_response(error, "注销失败"),
    }
}

/// 忘记密码.
pub(crate) async fn forget_password(
    fields: Fields,
    ClientAddress(address): ClientAddress,
    use_cases: Data<UseCases>,
) -> HandlerResult {
    let wire::ForgetPasswordRequest { account, recipient: to } = (&fields).try_into()?;
    match use_cases.send_reset(&RequestInfo::from_client(Jwt::NAME, address), &account, &to).await {
        Ok(()) => Ok(wire::success_response("发送短信成功")),
        Err(error) => server_error_response(error, "发送短信失败"),
    }
}

/// 验证手机.
pub(crate) async fn validate_phone(
    fields: Fields,
    ClientAddress(address): ClientAddress,
    use_cases: Data<UseCases>,
) -> HandlerResult {
    let wire::ValidatePhoneRequest { account, code } = (&fields).try_into()?;
    let token = use_cases.grant_reset(&RequestInfo::from_client(Jwt::NAME, address), &account, &code).await?;
    Ok(wire::reset_token_response(token.expose())?)
}

/// 更新密码.
pub(crate) async fn update_password(
    request: HttpRequest,
    fields: Fields,
    ClientAddress(address): ClientAddress,
    use_cases: Data<UseCases>,
    setup: Data<DialectState>,
) -> HandlerResult {
    let wire::UpdatePasswordRequest { account, password } = (&fields).try_into()?;
    // Before the token is looked at: a password that is refused must not use a reset token up.
    let password = use_cases.validate_new_password(&password).map_err(|_| wire::invalid_parameter("password"))?;
    let caller = RequestInfo::from_client(Jwt::NAME, address);
    let presented = tokens_from_headers(request.headers());
    let updated = first_accepted(&presented, async |token: &str| {
        let authority = password_change_authority(&use_cases, &setup.tokens, token).await?;
        use_cases.set_password(&caller, &account, &password, &authority).await
    });
    match updated.await {
        Ok(()) => Ok(wire::success_response("更新密码成功")),
        Err(error) => token_error_response(error, "更新密码失败"),
    }
}

/// What a token allows to set a password: a login token or a reset token, told apart by their form.
async fn password_change_authority(
    use_cases: &UseCases,
    tokens: &TokenManager,
    text: &str,
) -> Result<SetPasswordAuthorization> {
    if is_jwt(text) {
        return live_session_token(use_cases, tokens, text).await.map(SetPasswordAuthorization::RecentLogin);
    }
    Token::parse(text).map(SetPasswordAuthorization::ResetToken).ok_or(Error::NotAuthenticated)
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
async fn live_session_token(use_cases: &UseCases, tokens: &TokenManager, jwt: &str) -> Result<Token> {
    if let Some(key) = tokens.unknown_key_name(jwt) {
        use_cases.load_key(&key).await?;
    }
    let bearer = tokens.verify(jwt, use_cases.now()).ok_or(Error::NotAuthenticated)?;
    let (session, _) = use_cases.authenticate(Jwt::NAME, &bearer.session_token).await?;
    if session.user.to_string() == bearer.user_id { Ok(bearer.session_token) } else { Err(Error::NotAuthenticated) }
}
