//! The five calls.

use std::borrow::Cow;

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use stele_core::code::Purpose;
use stele_core::identifier::Recipient;
use stele_core::password::{NewPassword, RawPassword};
use stele_core::proof::Proof;
use stele_core::usecase::Caller;
use stele_core::usecase::login::{Audience, Carrier, Challenge, Login};
use stele_core::usecase::register::Register;
use stele_core::usecase::reset_password::ResetPassword;
use stele_core::usecase::send_code::Sendable;
use stele_core::{Error, UseCases};
use stele_dialect::{ClientAddress, Dialect as _, Failure, Fault, Fields, IgnoredBody};
use stele_service::origins::AllowedOrigins;

use crate::dialect::{Nothing, Portal, bad_recipient, ok};
use crate::{cookie, wire};

type Reply = Result<HttpResponse, Failure<Portal>>;

/// What the settings say of this dialect.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Whether a login may tell an unknown user from a wrong password, as the API document does.
    pub tell_unknown: bool,
    /// The other origins whose pages may log their visitors in and out.
    pub origins: AllowedOrigins,
}

/// 注册接口
pub(crate) async fn register(use_cases: Data<UseCases>, address: ClientAddress, fields: Fields) -> Reply {
    let form = wire::WithCode::try_from(&fields)?;
    let request = Register {
        to: &form.username,
        purpose: Purpose::Any,
        code: &form.code,
        password: &chosen(&use_cases, &form.password)?,
        caller: &caller(address),
    };
    let user = use_cases.register(request).await?;
    Ok(ok(wire::Memo { memo: &user.profile.memo }))
}

/// 登录接口
pub(crate) async fn login(
    request: HttpRequest,
    use_cases: Data<UseCases>,
    options: Data<Options>,
    address: ClientAddress,
    fields: Fields,
) -> Reply {
    let form = wire::Login::try_from(&fields)?;
    let attempt = Login {
        identifier: &form.identifier,
        proof: Proof::Raw(form.password),
        caller: &caller(address),
        audience: Audience::Everyone,
        challenge: Challenge::Code(form.code),
        carrier: Carrier::Token,
    };
    let found = use_cases.login(attempt).await.map_err(|error| match error {
        Error::UnknownUser if !options.tell_unknown => Error::WrongPassword,
        other => other,
    })?;
    let mut response = ok(wire::Profile::from(&found.user));
    if options.origins.is_cross_site(request.headers()) {
        tracing::info!("login by a page of another site: no cookie is set; list its origin in STELE_CORS_ORIGINS");
    } else {
        cookie::set(&mut response, &request, &found.token)?;
    }
    Ok(response)
}

/// 退出接口
pub(crate) async fn logout(
    request: HttpRequest,
    use_cases: Data<UseCases>,
    options: Data<Options>,
    _: IgnoredBody,
) -> Reply {
    // A page of another site must not log its visitor out.
    if options.origins.is_cross_site(request.headers()) {
        return Ok(ok(Nothing {}));
    }
    if let Some(token) = cookie::token(request.headers()) {
        match use_cases.logout(Portal::NAME, &token).await {
            Ok(()) | Err(Error::NotAuthenticated) => {}
            Err(other) => return Err(other.into()),
        }
    }
    let mut response = ok(Nothing {});
    cookie::clear(&mut response, &request)?;
    Ok(response)
}

/// 注册接口 (its heading in the API document), at /i/resetpwd
pub(crate) async fn resetpwd(use_cases: Data<UseCases>, address: ClientAddress, fields: Fields) -> Reply {
    let form = wire::WithCode::try_from(&fields)?;
    let request = ResetPassword {
        to: &form.username,
        purpose: Purpose::Any,
        code: &form.code,
        password: &chosen(&use_cases, &form.password)?,
        caller: &caller(address),
    };
    let user = use_cases.reset_password(request).await?;
    Ok(ok(wire::Memo { memo: &user.profile.memo }))
}

/// 发送验证码接口
pub(crate) async fn send(use_cases: Data<UseCases>, address: ClientAddress, fields: Fields) -> Reply {
    let form = wire::Send::try_from(&fields)?;
    let Some(to) = Recipient::parse(form.username) else { return Ok(bad_recipient(form.username)) };
    match use_cases.send_code(&caller(address), &to, Purpose::Any, Sendable::Anyone).await {
        Ok(()) => Ok(ok(Nothing {})),
        // A phone in a country that is not served.
        Err(Error::Invalid(_)) => Ok(bad_recipient(form.username)),
        Err(error) => Err(error.into()),
    }
}

fn caller(ClientAddress(address): ClientAddress) -> Caller {
    Caller::direct(Portal::NAME, address)
}

fn chosen(use_cases: &UseCases, password: &RawPassword) -> Result<NewPassword, Fault> {
    use_cases.choose_password(password).map_err(|_| Fault::Invalid(Cow::Borrowed(wire::PASSWORD)))
}
