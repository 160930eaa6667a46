//! The three calls.

use actix_web::http::StatusCode;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use stele_core::password::NewPassword;
use stele_core::session::Token;
use stele_core::usecase::Caller;
use stele_core::usecase::authenticate::authenticate;
use stele_core::usecase::change_password::{ChangePassword, Whose, change_password};
use stele_core::usecase::client_token;
use stele_core::usecase::login::{self, Audience, Carrier, Challenge, LoggedIn};
use stele_core::{Deps, Error};
use stele_web::{ClientAddress, Dialect as _, Failure, Fields, authorization, json};

use crate::dialect::Tms;
use crate::rules::Rules;
use crate::wire;

type Reply = Result<HttpResponse, Failure<Tms>>;

/// What every call is made with.
type Door = (Data<Deps>, Data<Rules>, ClientAddress, HttpRequest);

/// 管理员加密登录接口
pub(crate) async fn login_admin(door: Door, fields: Fields) -> Reply {
    login(door, fields, Audience::Admins).await
}

/// 用户加密登录接口, and 修改用户密码, which repeats it to the letter
pub(crate) async fn login_user(door: Door, fields: Fields) -> Reply {
    login(door, fields, Audience::Everyone).await
}

async fn login((deps, rules, address, http): Door, fields: Fields, audience: Audience) -> Reply {
    let form = wire::Login::read(&fields, rules.proof)?;
    if rules.require_token {
        vouch(&deps, &bearer(&http)?).await?;
    }
    let request = login::Login {
        identifier: form.username,
        proof: form.proof,
        caller: &Caller::direct(Tms::NAME, address.0),
        audience,
        challenge: Challenge::Never,
        carrier: Carrier::Token,
    };
    Ok(welcome(&login::login(&deps, request).await?, &rules))
}

/// 修改密码
pub(crate) async fn pwdreset((deps, rules, address, http): Door, fields: Fields) -> Reply {
    let form = wire::PwdReset::read(&fields, rules.proof)?;
    let request = ChangePassword {
        whose: Whose::Authenticated(form.user, &bearer(&http)?),
        proof: form.proof,
        password: NewPassword::digest(form.password),
        caller: &Caller::direct(Tms::NAME, address.0),
    };
    Ok(welcome(&change_password(&deps, request).await?, &rules))
}

fn welcome(user: &LoggedIn, rules: &Rules) -> HttpResponse {
    json(StatusCode::OK, &wire::Succ::new(user, rules.offset))
}

fn bearer(http: &HttpRequest) -> Result<Token, Error> {
    authorization(http.headers()).and_then(Token::parse).ok_or(Error::NotAuthenticated)
}

/// Whether `token` lets its bearer try to log in: a client application's, or a user's who is logged in already.
async fn vouch(deps: &Deps, token: &Token) -> Result<(), Error> {
    match client_token::recognise(deps, token).await {
        Err(Error::NotAuthenticated) => authenticate(deps, Tms::NAME, token).await.map(drop),
        known => known.map(drop),
    }
}
