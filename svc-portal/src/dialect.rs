//! How the portal says yes and no: `{"status":{"status_code":"…",…},"content":{…}}`.

use std::borrow::Cow;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use serde::Serialize;
use stele_core::Error;
use stele_dialect::{Dialect, Fault, Refusal, json, reply, status_of};

const UNKNOWN_USER: &str = "3201";
const WRONG_PASSWORD: &str = "3202";
const BAD_PHONE: &str = "3203";
const BAD_EMAIL: &str = "3204";
const TAKEN: &str = "3207";
const WRONG_CODE: &str = "3208";

/// The portal dialect.
#[derive(Debug)]
pub struct Portal;

#[derive(Serialize)]
struct Envelope<'a, C> {
    status: Status<'a>,
    content: C,
}

reply! {
    /// The text is sent as `status_message` and as `message` (`docs/PROTOCOLS.md`, Portal).
    pub(crate) struct Status<'a> = WRONG "Wrong" "失败的状态" {
        status_code: &'a str => one_of(
            "状态码",
            &[
                WRONG_PASSWORD, UNKNOWN_USER, BAD_PHONE, BAD_EMAIL, TAKEN, WRONG_CODE, "400", "401", "404", "405", "408",
                "413", "429", "500", "503",
            ]
        ),
        status_message: &'a str => text("状态提示信息", "密码错误"),
        message: &'a str => text("同上", "密码错误"),
    }
}

reply! {
    /// `{}`.
    pub(crate) struct Nothing = NOTHING "Nothing" "空" {}
}

impl Dialect for Portal {
    const NAME: &'static str = "portal";

    /// The codes beyond those of the API document are HTTP's own numbers.
    fn refuse(refusal: &Refusal) -> HttpResponse {
        let status = refusal.status();
        answer(status, status.as_str(), &refusal.text(), Nothing {})
    }

    fn fail(error: &Error) -> HttpResponse {
        let (code, text) = told(error);
        answer(status_of(error), code, &text, Nothing {})
    }
}

fn told(error: &Error) -> (&'static str, Cow<'static, str>) {
    let (code, text) = match error {
        Error::Invalid(field) => return ("400", Cow::Owned(Fault::Invalid(Cow::Borrowed(field)).to_string())),
        Error::UnknownUser => (UNKNOWN_USER, "没有此用户"),
        // The API document has no word for a locked user, and its clients know what to do with this one.
        Error::WrongPassword | Error::Disabled => (WRONG_PASSWORD, "密码错误"),
        // The portal's proofs are raw, so they cannot be stale or replayed.
        Error::Stale | Error::Replayed => (WRONG_PASSWORD, "密码错误"),
        Error::IdentifierTaken => (TAKEN, "用户已注册"),
        Error::WrongCode | Error::ChallengeRequired | Error::ChallengeFailed => (WRONG_CODE, "验证码错误"),
        Error::NotAuthenticated | Error::NotAllowed | Error::TicketRefused => ("401", "未登录或登录已失效"),
        Error::TooMany { .. } => ("429", "操作过于频繁，请稍后再试"),
        Error::Internal(_) => ("500", "服务内部错误"),
        Error::Busy { .. } | Error::Unavailable(_) => ("503", "服务暂不可用"),
    };
    (code, Cow::Borrowed(text))
}

/// What was asked for.
pub(crate) fn ok(content: impl Serialize) -> HttpResponse {
    answer(StatusCode::OK, "200", "OK", content)
}

/// A name to which no code can be sent: told as what it seems to be meant for.
pub(crate) fn bad_recipient(username: &str) -> HttpResponse {
    let (code, text) =
        if username.contains('@') { (BAD_EMAIL, "无效的邮箱") } else { (BAD_PHONE, "无效的手机号") };
    answer(StatusCode::OK, code, text, Nothing {})
}

fn answer(status: StatusCode, code: &str, text: &str, content: impl Serialize) -> HttpResponse {
    let status_part = Status { status_code: code, status_message: text, message: text };
    json(status, &Envelope { status: status_part, content })
}
