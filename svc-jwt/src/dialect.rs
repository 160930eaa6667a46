//! How this dialect says no.

use std::borrow::Cow;

use actix_web::HttpResponse;
use stele_core::Error;
use stele_web::{Dialect, Failure, Fault, Refusal, failed, status_of};

use crate::wire;

/// The dialect.
#[derive(Debug)]
pub struct Jwt;

/// What a handler gives.
pub type Reply = Result<HttpResponse, Failure<Jwt>>;

impl Dialect for Jwt {
    const NAME: &'static str = "jwt";

    fn refuse(refusal: &Refusal) -> HttpResponse {
        wire::failure(refusal.status(), &refusal.text())
    }

    fn fail(error: &Error) -> HttpResponse {
        let text = match error {
            Error::Invalid(field) => return Self::refuse(&Refusal::Input(Fault::Invalid(Cow::Borrowed(field)))),
            Error::UnknownUser | Error::WrongPassword => "用户名或密码错误",
            Error::Disabled => "用户已被禁用",
            Error::ChallengeRequired | Error::ChallengeFailed => "请输入验证码",
            Error::WrongCode => "验证码错误",
            // Each route that takes a token has words of its own for these: see `told`.
            Error::NotAuthenticated | Error::NotAllowed | Error::TicketRefused => "登录已失效",
            // No route of this dialect meets these three.
            Error::Stale | Error::Replayed => "请求已失效",
            Error::IdentifierTaken => "用户已存在",
            Error::TooMany { .. } => "操作过于频繁，请稍后再试",
            Error::Busy { .. } | Error::Unavailable(_) => "服务暂不可用",
            Error::Internal(_) => "服务内部错误",
        };
        wire::failure(status_of(error), text)
    }
}

/// Renders a failure of a route whose documented failure is `text`: that of a token that does not do, and on the
/// routes that take none, that of a fault of ours.
pub(crate) fn told(error: Error, text: &'static str, takes_token: bool) -> Reply {
    let documented = match error {
        Error::NotAuthenticated | Error::NotAllowed => takes_token,
        Error::Unavailable(_) | Error::Internal(_) => !takes_token,
        _ => false,
    };
    if documented { Ok(failed(&error, wire::failure(status_of(&error), text))) } else { Err(error.into()) }
}
