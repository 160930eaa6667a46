//! The handlers of the five endpoints: parse the request, call the use case, render the response.

use std::borrow::Cow;

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use stele_core::code::CodePurpose;
use stele_core::identifier::Recipient;
use stele_core::password::{NewPassword, RawPassword};
use stele_core::proof::Proof;
use stele_core::usecase::RequestInfo;
use stele_core::usecase::login::{AllowedUsers, Challenge, LoginRequest, SessionTransport};
use stele_core::usecase::register::RegisterRequest;
use stele_core::usecase::reset_password::ResetPasswordRequest;
use stele_core::usecase::send_code::RecipientFilter;
use stele_core::{Error, UseCases};
use stele_dialect::{CallError, ClientAddress, Dialect as _, FieldError, Fields, IgnoredBody};
use stele_service::cors::AllowedOrigins;

use crate::dialect::{EmptyContent, Portal, invalid_recipient_response, success_response};
use crate::{session_cookie, wire};

type HandlerResult = Result<HttpResponse, CallError<Portal>>;

/// The configuration of this dialect.
#[derive(Clone, Debug)]
pub(crate) struct DialectConfig {
    /// Whether a login reports an unknown user by an error code of its own, as the API document does (user
    /// enumeration).
    pub reveals_unknown_user: bool,
    /// The cross-site origins whose pages may set and clear the session cookie.
    pub allowed_origins: AllowedOrigins,
}

/// 注册接口: registration with a code.
pub(crate) async fn register(use_cases: Data<UseCases>, address: ClientAddress, fields: Fields) -> HandlerResult {
    let body = wire::NewPasswordRequest::try_from(&fields)?;
    let request = RegisterRequest {
        to: &body.recipient,
        purpose: CodePurpose::Any,
        code: &body.code,
        password: &validate_new_password(&use_cases, &body.password)?,
        caller: &request_info(address),
    };
    let user = use_cases.register(request).await?;
    Ok(success_response(wire::MemoView { memo: &user.profile.memo }))
}

/// 登录接口: login, which sets the session cookie.
pub(crate) async fn login(
    request: HttpRequest,
    use_cases: Data<UseCases>,
    config: Data<DialectConfig>,
    address: ClientAddress,
    fields: Fields,
) -> HandlerResult {
    let body = wire::LoginRequest::try_from(&fields)?;
    let attempt = LoginRequest {
        identifier: &body.identifier,
        proof: Proof::Raw(body.password),
        caller: &request_info(address),
        allowed_users: AllowedUsers::Everyone,
        challenge: Challenge::Code(body.code),
        transport: SessionTransport::Token,
    };
    let session = use_cases.login(attempt).await.map_err(|error| match error {
        Error::UnknownUser if !config.reveals_unknown_user => Error::WrongPassword,
        other => other,
    })?;
    let mut response = success_response(wire::ProfileView::new(&session.user, session.legacy.as_ref()));
    if config.allowed_origins.is_cross_site(request.headers()) {
        tracing::info!("cross-site login: no session cookie set; to allow it, add the origin to STELE_CORS_ORIGINS");
    } else {
        session_cookie::set(&mut response, &request, &session.token)?;
    }
    Ok(response)
}

/// 退出接口: logout. Succeeds without a session as well.
pub(crate) async fn logout(
    request: HttpRequest,
    use_cases: Data<UseCases>,
    config: Data<DialectConfig>,
    _: IgnoredBody,
) -> HandlerResult {
    // CSRF: a cross-site page must not log its visitor out.
    if config.allowed_origins.is_cross_site(request.headers()) {
        return Ok(success_response(EmptyContent {}));
    }
    if let Some(token) = session_cookie::session_token(request.headers()) {
        match use_cases.logout(Portal::NAME, &token).await {
            Ok(()) | Err(Error::NotAuthenticated) => {}
            Err(other) => return Err(other.into()),
        }
    }
    let mut response = success_response(EmptyContent {});
    session_cookie::clear(&mut response, &request)?;
    Ok(response)
}

/// Password reset with a code; the API document heads it 注册接口 as well.
pub(crate) async fn reset_password(use_cases: Data<UseCases>, address: ClientAddress, fields: Fields) -> HandlerResult {
    let body = wire::NewPasswordRequest::try_from(&fields)?;
    let request = ResetPasswordRequest {
        to: &body.recipient,
        purpose: CodePurpose::Any,
        code: &body.code,
        password: &validate_new_password(&use_cases, &body.password)?,
        caller: &request_info(address),
    };
    let user = use_cases.reset_password(request).await?;
    Ok(success_response(wire::MemoView { memo: &user.profile.memo }))
}

/// 发送验证码接口: sends a verification code.
pub(crate) async fn send_code(use_cases: Data<UseCases>, address: ClientAddress, fields: Fields) -> HandlerResult {
    let body = wire::SendCodeRequest::try_from(&fields)?;
    let Some(to) = Recipient::parse(body.username) else { return Ok(invalid_recipient_response(body.username)) };
    match use_cases.send_code(&request_info(address), &to, CodePurpose::Any, RecipientFilter::Anyone).await {
        Ok(()) => Ok(success_response(EmptyContent {})),
        // A phone of a country that is not in STELE_SMS_COUNTRIES.
        Err(Error::Invalid(_)) => Ok(invalid_recipient_response(body.username)),
        Err(error) => Err(error.into()),
    }
}

fn request_info(ClientAddress(address): ClientAddress) -> RequestInfo {
    RequestInfo::from_client(Portal::NAME, address)
}

fn validate_new_password(use_cases: &UseCases, password: &RawPassword) -> Result<NewPassword, FieldError> {
    use_cases.validate_new_password(password).map_err(|_| FieldError::Invalid(Cow::Borrowed(wire::PASSWORD_PARAM)))
}
