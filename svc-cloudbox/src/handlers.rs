//! The three calls.

use actix_web::http::StatusCode;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use stele_core::password::NewPassword;
use stele_core::proof::Proof;
use stele_core::session::Token;
use stele_core::usecase::Caller;
use stele_core::usecase::change_password::{ChangePassword, Whose};
use stele_core::usecase::login::{self, Audience, Carrier, Challenge, LoggedIn};
use stele_core::{Error, UseCases};
use stele_dialect::message_code::succeed;
use stele_dialect::{ClientAddress, Dialect as _, Failure, Fields, IgnoredBody, authorization, json};

use crate::dialect::Cloudbox;
use crate::wire;

type Reply = Result<HttpResponse, Failure<Cloudbox>>;

/// 用户登录认证接口
pub(crate) async fn login(use_cases: Data<UseCases>, ClientAddress(address): ClientAddress, fields: Fields) -> Reply {
    let form = wire::Login::try_from(&fields)?;
    let request = login::Login {
        identifier: form.username,
        proof: Proof::Salted(form.proof),
        caller: &Caller::direct(Cloudbox::NAME, address),
        audience: Audience::Everyone,
        challenge: Challenge::Never,
        carrier: Carrier::Token,
    };
    Ok(welcome(&use_cases.login(request).await?))
}

/// 重置密码接口
pub(crate) async fn pwdreset(
    use_cases: Data<UseCases>,
    ClientAddress(address): ClientAddress,
    fields: Fields,
) -> Reply {
    let form = wire::PwdReset::try_from(&fields)?;
    let request = ChangePassword {
        whose: Whose::Unauthenticated(form.user),
        proof: Proof::Salted(form.proof),
        password: NewPassword::digest(form.password),
        caller: &Caller::direct(Cloudbox::NAME, address),
    };
    Ok(welcome(&use_cases.change_password(request).await?))
}

fn welcome(user: &LoggedIn) -> HttpResponse {
    succeed(wire::User::from(user))
}

/// 登出接口
pub(crate) async fn logout(use_cases: Data<UseCases>, request: HttpRequest, _: IgnoredBody) -> Reply {
    let token = authorization(request.headers()).and_then(Token::parse).ok_or(Error::NotAuthenticated)?;
    use_cases.logout(Cloudbox::NAME, &token).await?;
    Ok(json(StatusCode::OK, &wire::BYE))
}
