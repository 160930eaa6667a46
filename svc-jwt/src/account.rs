//! The handlers for login, logout, password reset and password change.

use actix_web::HttpRequest;
use actix_web::web::Data;
use stele_core::proof::Proof;
use stele_core::session::Token;
use stele_core::usecase::RequestInfo;
use stele_core::usecase::login::{AllowedUsers, Challenge, LoginRequest, SessionTransport};
use stele_core::usecase::set_password::SetPasswordAuthorization;
use stele_core::{Error, Result, UseCases};
use stele_dialect::{ClientAddress, Dialect as _, Fields};
use stele_jose::LoginTokens;
use stele_jose::login_token::is_jwt;

use crate::dialect::{HandlerResult, Jwt, server_error_response, token_error_response};
use crate::presented_tokens::tokens_from_headers;
use crate::{DialectState, wire};

/// 登录: logs in with a password and returns a JWT.
pub(crate) async fn login(
    fields: Fields,
    ClientAddress(address): ClientAddress,
    use_cases: Data<UseCases>,
    state: Data<DialectState>,
) -> HandlerResult {
    let wire::LoginRequest { account, password, captcha } = (&fields).try_into()?;
    let request = LoginRequest {
        identifier: &account,
        proof: Proof::Raw(password),
        caller: &RequestInfo::from_client(Jwt::NAME, address),
        allowed_users: AllowedUsers::Everyone,
        challenge: Challenge::Captcha(captcha),
        transport: SessionTransport::Token,
    };
    let session = use_cases.login(request).await?;
    let token = state.tokens.issue(&session.session, &session.token)?;
    Ok(wire::login_response(&session, &token)?)
}

/// 登出: logout.
pub(crate) async fn logout(
    request: HttpRequest,
    use_cases: Data<UseCases>,
    state: Data<DialectState>,
) -> HandlerResult {
    let end_session = async {
        let verify = async |jwt: &str| state.tokens.authenticate(&use_cases, jwt).await;
        let (_, session_token) = try_tokens_in_turn(&tokens_from_headers(request.headers()), verify).await?;
        use_cases.logout(Jwt::NAME, &session_token).await
    };
    match end_session.await {
        Ok(()) => Ok(wire::success_response("注销成功")),
        Err(error) => token_error_response(error, "注销失败"),
    }
}

/// 忘记密码: sends a password reset code.
pub(crate) async fn forget_password(
    fields: Fields,
    ClientAddress(address): ClientAddress,
    use_cases: Data<UseCases>,
) -> HandlerResult {
    let wire::ForgetPasswordRequest { account, recipient } = (&fields).try_into()?;
    match use_cases.send_reset(&RequestInfo::from_client(Jwt::NAME, address), &account, &recipient).await {
        Ok(()) => Ok(wire::success_response("发送短信成功")),
        Err(error) => server_error_response(error, "发送短信失败"),
    }
}

/// 验证手机: exchanges a code for a reset token.
pub(crate) async fn validate_phone(
    fields: Fields,
    ClientAddress(address): ClientAddress,
    use_cases: Data<UseCases>,
) -> HandlerResult {
    let wire::ValidatePhoneRequest { account, code } = (&fields).try_into()?;
    let token = use_cases.grant_reset(&RequestInfo::from_client(Jwt::NAME, address), &account, &code).await?;
    Ok(wire::reset_token_response(token.expose())?)
}

/// 更新密码: sets a new password, with a reset token or a recent login token.
pub(crate) async fn update_password(
    request: HttpRequest,
    fields: Fields,
    ClientAddress(address): ClientAddress,
    use_cases: Data<UseCases>,
    state: Data<DialectState>,
) -> HandlerResult {
    let wire::UpdatePasswordRequest { account, password } = (&fields).try_into()?;
    // Checked before the token, so that an invalid password does not consume a reset token.
    let password = use_cases.validate_new_password(&password).map_err(|_| wire::invalid_parameter("password"))?;
    let caller = RequestInfo::from_client(Jwt::NAME, address);
    let tokens = tokens_from_headers(request.headers());
    let update = try_tokens_in_turn(&tokens, async |token: &str| {
        let authorization = authorize_password_change(&use_cases, &state.tokens, token).await?;
        use_cases.set_password(&caller, &account, &password, &authorization).await
    });
    match update.await {
        Ok(()) => Ok(wire::success_response("更新密码成功")),
        Err(error) => token_error_response(error, "更新密码失败"),
    }
}

/// The authorization that `token` gives to set a password: a JWT is a login token, any other text is a reset token.
async fn authorize_password_change(
    use_cases: &UseCases,
    tokens: &LoginTokens,
    token: &str,
) -> Result<SetPasswordAuthorization> {
    if is_jwt(token) {
        let (_, session_token) = tokens.authenticate(use_cases, token).await?;
        return Ok(SetPasswordAuthorization::RecentLogin(session_token));
    }
    Token::parse(token).map(SetPasswordAuthorization::ResetToken).ok_or(Error::NotAuthenticated)
}

/// The first result of `attempt` that is not [`Error::NotAuthenticated`], trying the tokens in turn.
async fn try_tokens_in_turn<T>(tokens: &[&str], attempt: impl AsyncFn(&str) -> Result<T>) -> Result<T> {
    for token in tokens {
        match attempt(token).await {
            Err(Error::NotAuthenticated) => {}
            result => return result,
        }
    }
    Err(Error::NotAuthenticated)
}
