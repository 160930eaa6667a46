//! The handlers of the three endpoints: parse the request, call the use case, render the response.

use actix_web::http::StatusCode;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use stele_core::password::NewPassword;
use stele_core::proof::Proof;
use stele_core::session::Token;
use stele_core::usecase::RequestInfo;
use stele_core::usecase::change_password::{ChangePasswordRequest, PasswordChangeAuthorization};
use stele_core::usecase::login::{self, AllowedUsers, AuthenticatedSession, Challenge, SessionTransport};
use stele_core::{Error, UseCases};
use stele_dialect::message_code::success_response;
use stele_dialect::{CallError, ClientAddress, Dialect as _, Fields, IgnoredBody, authorization_token, json_response};

use crate::dialect::Cloudbox;
use crate::wire;

type HandlerResult = Result<HttpResponse, CallError<Cloudbox>>;

/// 用户登录认证接口: login with a salted digest.
pub(crate) async fn login(
    use_cases: Data<UseCases>,
    ClientAddress(address): ClientAddress,
    fields: Fields,
) -> HandlerResult {
    let body = wire::LoginRequest::try_from(&fields)?;
    let request = login::LoginRequest {
        identifier: body.username,
        proof: Proof::Salted(body.proof),
        caller: &RequestInfo::from_client(Cloudbox::NAME, address),
        allowed_users: AllowedUsers::Everyone,
        challenge: Challenge::Never,
        transport: SessionTransport::Token,
    };
    Ok(login_response(&use_cases.login(request).await?))
}

/// 重置密码接口: password change, proved by the old password.
pub(crate) async fn change_password(
    use_cases: Data<UseCases>,
    ClientAddress(address): ClientAddress,
    fields: Fields,
) -> HandlerResult {
    let body = wire::PwdResetRequest::try_from(&fields)?;
    let request = ChangePasswordRequest {
        authorization: PasswordChangeAuthorization::ProofOnly(&body.user_id),
        proof: Proof::Salted(body.proof),
        password: NewPassword::from_digest(body.new_password),
        caller: &RequestInfo::from_client(Cloudbox::NAME, address),
    };
    Ok(login_response(&use_cases.change_password(request).await?))
}

fn login_response(session: &AuthenticatedSession) -> HttpResponse {
    success_response(wire::UserView::from(session))
}

/// 登出接口: logout.
pub(crate) async fn logout(use_cases: Data<UseCases>, request: HttpRequest, _: IgnoredBody) -> HandlerResult {
    let token = authorization_token(request.headers()).and_then(Token::parse).ok_or(Error::NotAuthenticated)?;
    use_cases.logout(Cloudbox::NAME, &token).await?;
    Ok(json_response(StatusCode::OK, &wire::LOGGED_OUT))
}
