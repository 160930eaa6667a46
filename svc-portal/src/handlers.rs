//! The five calls.

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

/// What the settings say of this dialect.
#[derive(Clone, Debug)]
pub(crate) struct DialectConfig {
    /// Whether a login may tell an unknown user from a wrong password, as the document does.
    pub reveals_unknown_user: bool,
    /// The other origins whose pages may log their visitors in and out.
    pub allowed_origins: AllowedOrigins,
}

/// 注册接口
pub(crate) async fn register(use_cases: Data<UseCases>, address: ClientAddress, fields: Fields) -> HandlerResult {
    let form = wire::NewPasswordRequest::try_from(&fields)?;
    let request = RegisterRequest {
        to: &form.recipient,
        purpose: CodePurpose::Any,
        code: &form.code,
        password: &validate_new_password(&use_cases, &form.password)?,
        caller: &request_info(address),
    };
    let user = use_cases.register(request).await?;
    Ok(success_response(wire::MemoView { memo: &user.profile.memo }))
}

/// 登录接口
pub(crate) async fn login(
    request: HttpRequest,
    use_cases: Data<UseCases>,
    options: Data<DialectConfig>,
    address: ClientAddress,
    fields: Fields,
) -> HandlerResult {
    let form = wire::LoginRequest::try_from(&fields)?;
    let attempt = LoginRequest {
        identifier: &form.identifier,
        proof: Proof::Raw(form.password),
        caller: &request_info(address),
        allowed_users: AllowedUsers::Everyone,
        challenge: Challenge::Code(form.code),
        transport: SessionTransport::Token,
    };
    let found = use_cases.login(attempt).await.map_err(|error| match error {
        Error::UnknownUser if !options.reveals_unknown_user => Error::WrongPassword,
        other => other,
    })?;
    let mut response = success_response(wire::ProfileView::from(&found.user));
    if options.allowed_origins.is_cross_site(request.headers()) {
        tracing::info!("login by a page of another site: no cookie is set; list its origin in STELE_CORS_ORIGINS");
    } else {
        session_cookie::set(&mut response, &request, &found.token)?;
    }
    Ok(response)
}

/// 退出接口
pub(crate) async fn logout(
    request: HttpRequest,
    use_cases: Data<UseCases>,
    options: Data<DialectConfig>,
    _: IgnoredBody,
) -> HandlerResult {
    // A page of another site must not log its visitor out.
    if options.allowed_origins.is_cross_site(request.headers()) {
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

/// 注册接口 (so the document heads it), at /i/resetpwd
pub(crate) async fn resetpwd(use_cases: Data<UseCases>, address: ClientAddress, fields: Fields) -> HandlerResult {
    let form = wire::NewPasswordRequest::try_from(&fields)?;
    let request = ResetPasswordRequest {
        to: &form.recipient,
        purpose: CodePurpose::Any,
        code: &form.code,
        password: &validate_new_password(&use_cases, &form.password)?,
        caller: &request_info(address),
    };
    let user = use_cases.reset_password(request).await?;
    Ok(success_response(wire::MemoView { memo: &user.profile.memo }))
}

/// 发送验证码接口
pub(crate) async fn send_code(use_cases: Data<UseCases>, address: ClientAddress, fields: Fields) -> HandlerResult {
    let form = wire::SendCodeRequest::try_from(&fields)?;
    let Some(to) = Recipient::parse(form.username) else { return Ok(invalid_recipient_response(form.username)) };
    match use_cases.send_code(&request_info(address), &to, CodePurpose::Any, RecipientFilter::Anyone).await {
        Ok(()) => Ok(success_response(EmptyContent {})),
        // A phone in a country that is not served.
        Err(Error::Invalid(_)) => Ok(invalid_recipient_response(form.username)),
        Err(error) => Err(error.into()),
    }
}

fn request_info(ClientAddress(address): ClientAddress) -> RequestInfo {
    RequestInfo::from_client(Portal::NAME, address)
}

fn validate_new_password(use_cases: &UseCases, password: &RawPassword) -> Result<NewPassword, FieldError> {
    use_cases.validate_new_password(password).map_err(|_| FieldError::Invalid(Cow::Borrowed(wire::PASSWORD_PARAM)))
}
