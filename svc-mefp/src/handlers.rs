//! The handlers of the eight endpoints: each calls a use case on behalf of the calling app.

use std::borrow::Cow;

use stele_core::code::CodePurpose;
use stele_core::password::{NewPassword, RawPassword};
use stele_core::proof::Proof;
use stele_core::usecase::reset_password::ResetPasswordRequest;
use stele_core::usecase::{login as login_usecase, register as register_usecase};
use stele_core::{Error, UseCases};
use stele_dialect::FieldError;

use crate::app_request::{AppRequest, HandlerResult};
use crate::wire::{self, InnerResponse};

/// POST /auth/register
pub(crate) async fn register(app_request: &AppRequest, request: wire::RegisterRequest) -> HandlerResult {
    let password = validate_new_password(&app_request.use_cases, &request.password, "password")?;
    let register_request = register_usecase::RegisterRequest {
        to: &request.recipient,
        purpose: CodePurpose::Register,
        code: &request.code,
        password: &password,
        caller: &app_request.caller,
    };
    app_request.use_cases.register(register_request).await?;
    Ok(InnerResponse::success())
}

/// POST /auth/login
pub(crate) async fn login(app_request: &AppRequest, request: wire::LoginRequest) -> HandlerResult {
    let attempt = login_usecase::LoginRequest {
        identifier: request.phone.text(),
        proof: Proof::Raw(request.password),
        caller: &app_request.caller,
        allowed_users: login_usecase::AllowedUsers::Everyone,
        challenge: login_usecase::Challenge::Never,
        transport: login_usecase::SessionTransport::AppBound,
    };
    match app_request.use_cases.login(attempt).await {
        Ok(_) => Ok(InnerResponse::success()),
        // Other endpoints return 40007; at a login it would permit user enumeration.
        Err(Error::UnknownUser) => Err(Error::WrongPassword.into()),
        Err(error) => Err(error.into()),
    }
}

/// POST /auth/captcha
pub(crate) async fn send_code(app_request: &AppRequest, request: wire::CaptchaRequest) -> HandlerResult {
    app_request
        .use_cases
        .send_code(&app_request.caller, &request.recipient, request.purpose, request.recipient_filter)
        .await?;
    Ok(InnerResponse::success())
}

/// POST /auth/forgot
pub(crate) async fn reset_password(app_request: &AppRequest, request: wire::ForgotRequest) -> HandlerResult {
    let password = validate_new_password(&app_request.use_cases, &request.password, "new_password")?;
    let reset_request = ResetPasswordRequest {
        to: &request.recipient,
        purpose: CodePurpose::Reset,
        code: &request.code,
        password: &password,
        caller: &app_request.caller,
    };
    app_request.use_cases.reset_password(reset_request).await?;
    Ok(InnerResponse::success())
}

/// POST /auth/token
pub(crate) async fn issue_token(app_request: &AppRequest, request: wire::GetTokenRequest) -> HandlerResult {
    let token = app_request
        .use_cases
        .issue_ticket(&app_request.caller, &app_request.app, &request.app_to, &request.phone)
        .await?;
    Ok(InnerResponse::token_issued(&token))
}

/// POST /auth/check/loginname
pub(crate) async fn check_loginname(app_request: &AppRequest, request: wire::CheckLoginnameRequest) -> HandlerResult {
    Ok(match app_request.use_cases.find_user_by_phone(&request.phone).await? {
        Some(user) => InnerResponse::user_exists(user),
        None => InnerResponse::error(40005, "用户名不存在"),
    })
}

/// POST /auth/check/captcha
pub(crate) async fn check_code(app_request: &AppRequest, request: wire::CheckCaptchaRequest) -> HandlerResult {
    let purposes = [CodePurpose::Register, CodePurpose::Reset];
    app_request.use_cases.check_code(&app_request.caller, &request.recipient, &purposes, &request.code).await?;
    Ok(InnerResponse::success())
}

/// POST /auth/check/token
pub(crate) async fn redeem_token(app_request: &AppRequest, request: wire::CheckTokenRequest) -> HandlerResult {
    let token = request.token.ok_or(Error::TicketRefused)?;
    let (user, app_from) = app_request.use_cases.redeem_ticket(&app_request.caller, &app_request.app, &token).await?;
    Ok(InnerResponse::token_redeemed(&user, app_from))
}

fn validate_new_password(
    use_cases: &UseCases,
    password: &RawPassword,
    field: &'static str,
) -> Result<NewPassword, FieldError> {
    use_cases.validate_new_password(password).map_err(|_| FieldError::Invalid(Cow::Borrowed(field)))
}
