//! Error responses of the MeFP dialect: a code and a text for each error, encrypted if the request's envelope was
//! decrypted.

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

    fn render_rejection(rejection: &RequestRejection) -> HttpResponse {
        let (status, response) = rejection_response(rejection);
        json_response(status, &response)
    }

    fn render_error(error: &Error) -> HttpResponse {
        let (status, response) = error_response(error);
        json_response(status, &response)
    }
}

/// HTTP status and body for a request that the server rejects.
pub(crate) fn rejection_response(rejection: &RequestRejection) -> (StatusCode, InnerResponse) {
    let code = match rejection {
        // One error for everything unreadable, inside or outside the envelope: distinct ones would be a padding oracle.
        RequestRejection::InvalidInput(FieldError::MalformedRequest) => {
            return (rejection.status(), InnerResponse::error(40000, "请求无法解密"));
        }
        RequestRejection::InvalidInput(_) | RequestRejection::RequestTimeout => 40000,
        RequestRejection::NotFound => 40400,
        RequestRejection::MethodNotAllowed => 40500,
        RequestRejection::BodyTooLarge => 41300,
        RequestRejection::Internal => 50000,
    };
    (rejection.status(), InnerResponse::error(code, rejection.chinese_text()))
}

/// HTTP status and body for a domain error.
pub(crate) fn error_response(error: &Error) -> (StatusCode, InnerResponse) {
    let response = match error {
        Error::Invalid("phone") => return (StatusCode::OK, InnerResponse::error(40004, "电话号码错误")),
        Error::CommonPassword => InnerResponse::error(40000, "密码过于常见，请换一个"),
        Error::Invalid(field) => InnerResponse::error(40000, format!("参数错误: {field}")),
        Error::IdentifierTaken => InnerResponse::error(40001, "用户名已存在"),
        Error::WrongCode => InnerResponse::error(40002, "验证码错误"),
        Error::WrongPassword | Error::Disabled => InnerResponse::error(40003, "用户名或密码错误"),
        // Not reachable: this dialect has no salted proofs and no challenges.
        Error::Stale | Error::Replayed | Error::ChallengeRequired | Error::ChallengeFailed => {
            InnerResponse::error(40003, "用户名或密码错误")
        }
        // Only `TicketRefused` is reachable: this dialect has no session tokens.
        Error::TicketRefused | Error::NotAuthenticated | Error::NotAllowed => {
            InnerResponse::error(40006, "获取token失败")
        }
        Error::UnknownUser => InnerResponse::error(40007, "用户不存在"),
        Error::RateLimited { .. } => InnerResponse::error(42900, "操作过于频繁，请稍后再试"),
        Error::Busy { .. } | Error::Unavailable(_) => InnerResponse::error(50300, "服务暂时不可用，请稍后再试"),
        Error::Internal(_) => InnerResponse::error(50000, "服务内部错误"),
    };
    (status_for_error(error), response)
}
