//! How MeFP says no: one number and one text for each reason, plain or, once an envelope is open, encrypted.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use stele_core::Error;
use stele_dialect::{Dialect, FieldError, RequestRejection, json_response, status_for_error};

use crate::wire::InnerResponse;

/// The MeFP dialect.
#[derive(Clone, Copy, Debug)]
pub struct Mefp;

impl Dialect for Mefp {
    const NAME: &'static str = "mefp";

    fn render_rejection(refusal: &RequestRejection) -> HttpResponse {
        let (status, reply) = rejection_response(refusal);
        json_response(status, &reply)
    }

    fn render_error(error: &Error) -> HttpResponse {
        let (status, reply) = error_response(error);
        json_response(status, &reply)
    }
}

/// What a refusal of the chassis is called.
pub(crate) fn rejection_response(refusal: &RequestRejection) -> (StatusCode, InnerResponse) {
    let code = match refusal {
        // Whatever cannot be read, in the envelope or around it, is told the same.
        RequestRejection::InvalidInput(FieldError::MalformedBody) => {
            return (refusal.status(), InnerResponse::error(40000, "请求无法解密"));
        }
        RequestRejection::InvalidInput(_) | RequestRejection::BodyTimeout => 40000,
        RequestRejection::NotFound => 40400,
        RequestRejection::MethodNotAllowed => 40500,
        RequestRejection::BodyTooLarge => 41300,
        RequestRejection::Internal => 50000,
    };
    (refusal.status(), InnerResponse::error(code, refusal.chinese_text()))
}

/// What a domain error is called.
pub(crate) fn error_response(error: &Error) -> (StatusCode, InnerResponse) {
    let reply = match error {
        Error::Invalid("phone") => return (StatusCode::OK, InnerResponse::error(40004, "电话号码错误")),
        Error::Invalid(field) => InnerResponse::error(40000, format!("参数错误: {field}")),
        Error::IdentifierTaken => InnerResponse::error(40001, "用户名已存在"),
        Error::WrongCode => InnerResponse::error(40002, "验证码错误"),
        Error::WrongPassword | Error::Disabled => InnerResponse::error(40003, "用户名或密码错误"),
        // Nothing here asks for a salted proof or a challenge.
        Error::Stale | Error::Replayed | Error::ChallengeRequired | Error::ChallengeFailed => {
            InnerResponse::error(40003, "用户名或密码错误")
        }
        // Nor for a session's token.
        Error::TicketRefused | Error::NotAuthenticated | Error::NotAllowed => {
            InnerResponse::error(40006, "获取token失败")
        }
        Error::UnknownUser => InnerResponse::error(40007, "用户不存在"),
        Error::RateLimited { .. } => InnerResponse::error(42900, "操作过于频繁，请稍后再试"),
        Error::Busy { .. } | Error::Unavailable(_) => InnerResponse::error(50300, "服务暂时不可用，请稍后再试"),
        Error::Internal(_) => InnerResponse::error(50000, "服务内部错误"),
    };
    (status_for_error(error), reply)
}
