//! How the portal says yes and no: `{"status":{"status_code":"…",…},"content":{…}}`.

use std::borrow::Cow;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use serde::Serialize;
use stele_core::Error;
use stele_dialect::{Dialect, FieldError, RequestRejection, json_response, reply, status_for_error};

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

reply! {
    /// The document names the text `message` in its prose and `status_message` in its sample: both are sent.
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

reply! {
    /// `{}`.
    pub(crate) struct EmptyContent = EMPTY_CONTENT "Nothing" "空" {}
}

impl Dialect for Portal {
    const NAME: &'static str = "portal";

    /// The codes beyond the document's are HTTP's own numbers.
    fn render_rejection(refusal: &RequestRejection) -> HttpResponse {
        let status = refusal.status();
        envelope_response(status, status.as_str(), &refusal.chinese_text(), EmptyContent {})
    }

    fn render_error(error: &Error) -> HttpResponse {
        let (code, text) = code_and_message(error);
        envelope_response(status_for_error(error), code, &text, EmptyContent {})
    }
}

fn code_and_message(error: &Error) -> (&'static str, Cow<'static, str>) {
    let (code, text) = match error {
        Error::Invalid(field) => return ("400", Cow::Owned(FieldError::Invalid(Cow::Borrowed(field)).to_string())),
        Error::UnknownUser => (UNKNOWN_USER, "没有此用户"),
        // The document has no word for a locked user, and its clients know what to do with this one.
        Error::WrongPassword | Error::Disabled => (WRONG_PASSWORD, "密码错误"),
        // The portal's proofs are raw, so they cannot be stale or replayed.
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

/// What was asked for.
pub(crate) fn success_response(content: impl Serialize) -> HttpResponse {
    envelope_response(StatusCode::OK, "200", "OK", content)
}

/// A name to which no code can be sent: told as what it seems to be meant for.
pub(crate) fn invalid_recipient_response(username: &str) -> HttpResponse {
    let (code, text) =
        if username.contains('@') { (INVALID_EMAIL, "无效的邮箱") } else { (INVALID_PHONE, "无效的手机号") };
    envelope_response(StatusCode::OK, code, text, EmptyContent {})
}

fn envelope_response(status: StatusCode, code: &str, text: &str, content: impl Serialize) -> HttpResponse {
    let status_part = StatusBlock { status_code: code, status_message: text, message: text };
    json_response(status, &ResponseEnvelope { status: status_part, content })
}
