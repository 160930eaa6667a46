//! The handlers of the three endpoints: parse the request, call the use case, render the response.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use stele_core::app::ClientToken;
use stele_core::password::NewPassword;
use stele_core::session::Token;
use stele_core::usecase::RequestInfo;
use stele_core::usecase::change_password::{ChangePasswordRequest, PasswordChangeAuthorization};
use stele_core::usecase::login::{self, AllowedUsers, AuthenticatedSession, Challenge, SessionTransport};
use stele_core::{Error, UseCases};
use stele_dialect::message_code::success_response;
use stele_dialect::{CallError, ClientAddress, Dialect as _, Fields, authorization_token};

use crate::config::DialectConfig;
use crate::dialect::Tms;
use crate::wire;

type HandlerResult = Result<HttpResponse, CallError<Tms>>;

/// The context that the handlers extract from a request besides its fields.
type CallContext = (Data<UseCases>, Data<DialectConfig>, ClientAddress, HttpRequest);

/// 管理员加密登录接口: login of administrators.
pub(crate) async fn login_admin(context: CallContext, fields: Fields) -> HandlerResult {
    login(context, fields, AllowedUsers::Admins).await
}

/// 用户加密登录接口: login of users and administrators. The API document's section 修改用户密码 repeats it verbatim.
pub(crate) async fn login_user(context: CallContext, fields: Fields) -> HandlerResult {
    login(context, fields, AllowedUsers::Everyone).await
}

async fn login(
    (use_cases, config, address, http_request): CallContext,
    fields: Fields,
    allowed_users: AllowedUsers,
) -> HandlerResult {
    let body = wire::LoginRequest::parse(&fields, config.proof_format)?;
    let mut caller = RequestInfo::from_client(Tms::NAME, address.0);
    if config.requires_token
        && let Some(client) = authorize_login_attempt(&use_cases, &bearer_token(&http_request)?).await?
    {
        caller = caller.with_client_token(client.name);
    }
    let request = login::LoginRequest {
        identifier: body.username,
        proof: body.proof,
        caller: &caller,
        allowed_users,
        challenge: Challenge::Never,
        transport: SessionTransport::Token,
    };
    Ok(login_response(&use_cases.login(request).await?, &config))
}

/// 修改密码: password change.
pub(crate) async fn change_password(
    (use_cases, config, address, http_request): CallContext,
    fields: Fields,
) -> HandlerResult {
    let body = wire::PwdResetRequest::parse(&fields, config.proof_format)?;
    let request = ChangePasswordRequest {
        authorization: PasswordChangeAuthorization::WithToken(&body.user_id, &bearer_token(&http_request)?),
        proof: body.proof,
        password: NewPassword::from_digest(body.new_password),
        caller: &RequestInfo::from_client(Tms::NAME, address.0),
    };
    Ok(login_response(&use_cases.change_password(request).await?, &config))
}

fn login_response(session: &AuthenticatedSession, config: &DialectConfig) -> HttpResponse {
    success_response(wire::UserView::new(session, config.offset))
}

fn bearer_token(http_request: &HttpRequest) -> Result<Token, Error> {
    authorization_token(http_request.headers()).and_then(Token::parse).ok_or(Error::NotAuthenticated)
}

/// Checks the token that a login requires: a client token, which is returned, or the session token of a user who is
/// already logged in.
async fn authorize_login_attempt(use_cases: &UseCases, token: &Token) -> Result<Option<ClientToken>, Error> {
    match use_cases.authenticate_client(token).await {
        Err(Error::NotAuthenticated) => use_cases.authenticate(Tms::NAME, token).await.map(|_| None),
        result => result.map(Some),
    }
}
