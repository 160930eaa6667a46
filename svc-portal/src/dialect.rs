//! Responses of the portal dialect: `{"status":{"status_code":"…",…},"content":{…}}`.

use std::borrow::Cow;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use serde::Serialize;
use stele_core::Error;
use stele_dialect::{Dialect, FieldError, RequestRejection, json_response, response_body, status_for_error};

const UNKNOWN_USER: &str = "3201";
const WRONG_PASSWORD: &str = "3202";
const INVALID_PHONE: &str = "3203";
const INVALID_EMAIL: &str = "3204";
const IDENTIFIER_TAKEN: &str = "3207";
const WRONG_CODE: &str = "3208";

/// The portal dialect.
#[derive(Debug)]
pub struct Portal;

#[derive(Serialize)]
struct ResponseEnvelope<'a, C> {
    status: StatusBlock<'a>,
    content: C,
}

response_body! {
    /// The status of a response. The API document calls the text `message` in its prose and `status_message` in its
    /// sample; both are sent.
    pub(crate) struct StatusBlock<'a> = ERROR_STATUS "Wrong" "失败的状态" {
        status_code: &'a str => one_of(
            "状态码",
            &[
                WRONG_PASSWORD, UNKNOWN_USER, INVALID_PHONE, INVALID_EMAIL, IDENTIFIER_TAKEN, WRONG_CODE, "400", "401", "404", "405", "408",
                "413", "429", "500", "503",
            ]
        ),
        status_message: &'a str => text("状态提示信息", "密码错误"),
        message: &'a str => text("同上", "密码错误"),
    }
}

response_body! {
    /// `{}`.
    pub(crate) struct EmptyContent = EMPTY_CONTENT "Nothing" "空" {}
}

impl Dialect for Portal {
    const NAME: &'static str = "portal";

    /// Errors without a documented code use the number of the HTTP status.
    fn render_rejection(rejection: &RequestRejection) -> HttpResponse {
        let status = rejection.status();
        envelope_response(status, status.as_str(), &rejection.chinese_text(), EmptyContent {})
    }

    fn render_error(error: &Error) -> HttpResponse {
        let (code, text) = code_and_message(error);
        envelope_response(status_for_error(error), code, &text, EmptyContent {})
    }
}

fn code_and_message(error: &Error) -> (&'static str, Cow<'static, str>) {
    let (code, text) = match error {
        Error::Invalid(field) => return ("400", Cow::Owned(FieldError::Invalid(Cow::Borrowed(field)).to_string())),
        Error::CommonPassword => ("400", "密码过于常见，请换一个"),
        Error::UnknownUser => (UNKNOWN_USER, "没有此用户"),
        // The API document has no code for a disabled user; clients handle this one.
        Error::WrongPassword | Error::Disabled => (WRONG_PASSWORD, "密码错误"),
        // Not reachable: raw passwords cannot be stale or replayed.
        Error::Stale | Error::Replayed => (WRONG_PASSWORD, "密码错误"),
        Error::IdentifierTaken => (IDENTIFIER_TAKEN, "用户已注册"),
        Error::WrongCode | Error::ChallengeRequired | Error::ChallengeFailed => (WRONG_CODE, "验证码错误"),
        Error::NotAuthenticated | Error::NotAllowed | Error::TicketRefused => ("401", "未登录或登录已失效"),
        Error::RateLimited { .. } => ("429", "操作过于频繁，请稍后再试"),
        Error::Internal(_) => ("500", "服务内部错误"),
        Error::Busy { .. } | Error::Unavailable(_) => ("503", "服务暂不可用"),
    };
    (code, Cow::Borrowed(text))
}

/// A success response with `content`.
pub(crate) fn success_response(content: impl Serialize) -> HttpResponse {
    envelope_response(StatusCode::OK, "200", "OK", content)
}

/// The error for a recipient to which no code can be sent: an invalid e-mail if it contains `@`, else an invalid phone.
pub(crate) fn invalid_recipient_response(username: &str) -> HttpResponse {
    let (code, text) =
        if username.contains('@') { (INVALID_EMAIL, "无效的邮箱") } else { (INVALID_PHONE, "无效的手机号") };
    envelope_response(StatusCode::OK, code, text, EmptyContent {})
}

fn envelope_response(status: StatusCode, code: &str, text: &str, content: impl Serialize) -> HttpResponse {
    let status_block = StatusBlock { status_code: code, status_message: text, message: text };
    json_response(status, &ResponseEnvelope { status: status_block, content })
}
