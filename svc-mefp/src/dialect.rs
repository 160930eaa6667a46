//! How MeFP says no: one number and one text for each reason, plain or, once an envelope is open, encrypted.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use stele_core::Error;
use stele_dialect::{Dialect, Fault, Refusal, json, status_of};

use crate::wire::Reply;

/// The MeFP dialect.
#[derive(Clone, Copy, Debug)]
pub struct Mefp;

impl Dialect for Mefp {
    const NAME: &'static str = "mefp";

    fn refuse(refusal: &Refusal) -> HttpResponse {
        let (status, reply) = refused(refusal);
        json(status, &reply)
    }

    fn fail(error: &Error) -> HttpResponse {
        let (status, reply) = failed(error);
        json(status, &reply)
    }
}

/// What a refusal of the chassis is called.
pub(crate) fn refused(refusal: &Refusal) -> (StatusCode, Reply) {
    let code = match refusal {
        // Whatever cannot be read, in the envelope or around it, is told the same.
        Refusal::Input(Fault::Unreadable) => return (refusal.status(), Reply::no(40000, "请求无法解密")),
        Refusal::Input(_) | Refusal::Timeout => 40000,
        Refusal::NotFound => 40400,
        Refusal::Method => 40500,
        Refusal::TooLarge => 41300,
        Refusal::Internal => 50000,
    };
    (refusal.status(), Reply::no(code, refusal.text()))
}

/// What a domain error is called.
pub(crate) fn failed(error: &Error) -> (StatusCode, Reply) {
    let reply = match error {
        Error::Invalid("phone") => return (StatusCode::OK, Reply::no(40004, "电话号码错误")),
        Error::Invalid(field) => Reply::no(40000, format!("参数错误: {field}")),
        Error::IdentifierTaken => Reply::no(40001, "用户名已存在"),
        Error::WrongCode => Reply::no(40002, "验证码错误"),
        Error::WrongPassword | Error::Disabled => Reply::no(40003, "用户名或密码错误"),
        // Nothing here asks for a salted proof or a challenge.
        Error::Stale | Error::Replayed | Error::ChallengeRequired | Error::ChallengeFailed => {
            Reply::no(40003, "用户名或密码错误")
        }
        // Nor for a session's token.
        Error::TicketRefused | Error::NotAuthenticated | Error::NotAllowed => Reply::no(40006, "获取token失败"),
        Error::UnknownUser => Reply::no(40007, "用户不存在"),
        Error::TooMany { .. } => Reply::no(42900, "操作过于频繁，请稍后再试"),
        Error::Busy { .. } | Error::Unavailable(_) => Reply::no(50300, "服务暂时不可用，请稍后再试"),
        Error::Internal(_) => Reply::no(50000, "服务内部错误"),
    };
    (status_of(error), reply)
}
