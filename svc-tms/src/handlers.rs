//! The three calls.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use stele_core::password::NewPassword;
use stele_core::session::Token;
use stele_core::usecase::Caller;
use stele_core::usecase::change_password::{ChangePassword, Whose};
use stele_core::usecase::login::{self, Audience, Carrier, Challenge, LoggedIn};
use stele_core::{Error, UseCases};
use stele_dialect::message_code::succeed;
use stele_dialect::{ClientAddress, Dialect as _, Failure, Fields, authorization};

use crate::dialect::Tms;
use crate::rules::Rules;
use crate::wire;

type Reply = Result<HttpResponse, Failure<Tms>>;

/// What every call is made with.
type Door = (Data<UseCases>, Data<Rules>, ClientAddress, HttpRequest);

/// 管理员加密登录接口
pub(crate) async fn login_admin(door: Door, fields: Fields) -> Reply {
    login(door, fields, Audience::Admins).await
}

/// 用户加密登录接口, and 修改用户密码, which repeats it to the letter
pub(crate) async fn login_user(door: Door, fields: Fields) -> Reply {
    login(door, fields, Audience::Everyone).await
}

async fn login((use_cases, rules, address, http): Door, fields: Fields, audience: Audience) -> Reply {
    let form = wire::Login::read(&fields, rules.proof)?;
    if rules.require_token {
        vouch(&use_cases, &bearer(&http)?).await?;
    }
    let request = login::Login {
        identifier: form.username,
        proof: form.proof,
        caller: &Caller::direct(Tms::NAME, address.0),
        audience,
        challenge: Challenge::Never,
        carrier: Carrier::Token,
    };
    Ok(welcome(&use_cases.login(request).await?, &rules))
}

/// 修改密码
pub(crate) async fn pwdreset((use_cases, rules, address, http): Door, fields: Fields) -> Reply {
    let form = wire::PwdReset::read(&fields, rules.proof)?;
    let request = ChangePassword {
        whose: Whose::Authenticated(form.user, &bearer(&http)?),
        proof: form.proof,
        password: NewPassword::digest(form.password),
        caller: &Caller::direct(Tms::NAME, address.0),
    };
    Ok(welcome(&use_cases.change_password(request).await?, &rules))
}

fn welcome(user: &LoggedIn, rules: &Rules) -> HttpResponse {
    succeed(wire::User::new(user, rules.offset))
}

fn bearer(http: &HttpRequest) -> Result<Token, Error> {
    authorization(http.headers()).and_then(Token::parse).ok_or(Error::NotAuthenticated)
}

/// Whether `token` lets its bearer try to log in: a client application's, or a user's who is logged in already.
async fn vouch(use_cases: &UseCases, token: &Token) -> Result<(), Error> {
    match use_cases.recognise_client_token(token).await {
        Err(Error::NotAuthenticated) => use_cases.authenticate(Tms::NAME, token).await.map(drop),
        known => known.map(drop),
    }
}
