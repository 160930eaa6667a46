//! The three calls.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use stele_core::password::NewPassword;
use stele_core::session::Token;
use stele_core::usecase::RequestInfo;
use stele_core::usecase::change_password::{ChangePasswordRequest, PasswordChangeTarget};
use stele_core::usecase::login::{self, AllowedUsers, AuthenticatedSession, Challenge, SessionTransport};
use stele_core::{Error, UseCases};
use stele_dialect::message_code::success_response;
use stele_dialect::{CallError, ClientAddress, Dialect as _, Fields, authorization_token};

use crate::config::DialectConfig;
use crate::dialect::Tms;
use crate::wire;

type HandlerResult = Result<HttpResponse, CallError<Tms>>;

/// What every call is made with.
type CallContext = (Data<UseCases>, Data<DialectConfig>, ClientAddress, HttpRequest);

/// 管理员加密登录接口
pub(crate) async fn login_admin(door: CallContext, fields: Fields) -> HandlerResult {
    login(door, fields, AllowedUsers::Admins).await
}

/// 用户加密登录接口, and 修改用户密码, which repeats it to the letter
pub(crate) async fn login_user(door: CallContext, fields: Fields) -> HandlerResult {
    login(door, fields, AllowedUsers::Everyone).await
}

async fn login(
    (use_cases, rules, address, http): CallContext,
    fields: Fields,
    audience: AllowedUsers,
) -> HandlerResult {
    let form = wire::LoginRequest::parse(&fields, rules.proof_format)?;
    if rules.requires_token {
        authorize_login_attempt(&use_cases, &bearer_token(&http)?).await?;
    }
    let request = login::LoginRequest {
        identifier: form.username,
        proof: form.proof,
        caller: &RequestInfo::from_client(Tms::NAME, address.0),
        allowed_users: audience,
        challenge: Challenge::Never,
        transport: SessionTransport::Token,
    };
    Ok(login_response(&use_cases.login(request).await?, &rules))
}

/// 修改密码
pub(crate) async fn pwdreset((use_cases, rules, address, http): CallContext, fields: Fields) -> HandlerResult {
    let form = wire::PwdResetRequest::parse(&fields, rules.proof_format)?;
    let request = ChangePasswordRequest {
        target: PasswordChangeTarget::Authenticated(form.user_ref, &bearer_token(&http)?),
        proof: form.proof,
        password: NewPassword::from_digest(form.new_password),
        caller: &RequestInfo::from_client(Tms::NAME, address.0),
    };
    Ok(login_response(&use_cases.change_password(request).await?, &rules))
}

fn login_response(user: &AuthenticatedSession, rules: &DialectConfig) -> HttpResponse {
    success_response(wire::UserView::new(user, rules.offset))
}

fn bearer_token(http: &HttpRequest) -> Result<Token, Error> {
    authorization_token(http.headers()).and_then(Token::parse).ok_or(Error::NotAuthenticated)
}

/// Whether `token` lets its bearer try to log in: a client application's, or a user's who is logged in already.
async fn authorize_login_attempt(use_cases: &UseCases, token: &Token) -> Result<(), Error> {
    match use_cases.authenticate_client(token).await {
        Err(Error::NotAuthenticated) => use_cases.authenticate(Tms::NAME, token).await.map(drop),
        known => known.map(drop),
    }
}
