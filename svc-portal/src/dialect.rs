//! How the portal says yes and no: `{"status":{"status_code":"…",…},"content":{…}}`.

use std::borrow::Cow;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use serde::Serialize;
use stele_core::Error;
use stele_dialect::{Dialect, Fault, Refusal, json, status_of};

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

/// The document names the text `message` in its prose and `status_message` in its sample: both are sent.
#[derive(Serialize)]
struct Status<'a> {
    status_code: &'a str,
    status_message: &'a str,
    message: &'a str,
}

/// `{}`.
#[derive(Serialize)]
pub(crate) struct Nothing {}

impl Dialect for Portal {
    const NAME: &'static str = "portal";

    /// The codes beyond the document's are HTTP's own numbers.
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
        // The document has no word for a locked user, and its clients know what to do with this one.
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use actix_web::body::MessageBody as _;

    use super::*;

    fn shown(response: HttpResponse) -> (u16, String) {
        let status = response.status().as_u16();
        let body = response.into_body().try_into_bytes().unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    fn envelope(code: &str, text: &str) -> String {
        format!(
            r#"{{"status":{{"status_code":"{code}","status_message":"{text}","message":"{text}"}},"content":{{}}}}"#
        )
    }

    #[test]
    fn refusals_are_http_numbers() {
        let missing = Refusal::Input(Fault::Missing(Cow::Borrowed("username")));
        for (refusal, status, text) in [
            (missing, 400, "缺少参数: username"),
            (Refusal::NotFound, 404, "接口不存在"),
            (Refusal::Method, 405, "请求方法不支持"),
            (Refusal::Timeout, 408, "请求超时"),
            (Refusal::TooLarge, 413, "请求内容过大"),
            (Refusal::Internal, 500, "服务内部错误"),
        ] {
            assert_eq!(shown(Portal::refuse(&refusal)), (status, envelope(&status.to_string(), text)));
        }
    }

    #[test]
    fn domain_errors_are_the_documents_codes_or_http_numbers() {
        let retry_after = Duration::from_secs(1);
        for (error, status, code, text) in [
            (Error::Invalid("password"), 400, "400", "参数错误: password"),
            (Error::UnknownUser, 200, "3201", "没有此用户"),
            (Error::WrongPassword, 200, "3202", "密码错误"),
            (Error::Disabled, 200, "3202", "密码错误"),
            (Error::IdentifierTaken, 200, "3207", "用户已注册"),
            (Error::WrongCode, 200, "3208", "验证码错误"),
            (Error::ChallengeRequired, 200, "3208", "验证码错误"),
            (Error::ChallengeFailed, 200, "3208", "验证码错误"),
            (Error::NotAuthenticated, 401, "401", "未登录或登录已失效"),
            (Error::NotAllowed, 401, "401", "未登录或登录已失效"),
            (Error::TooMany { retry_after }, 429, "429", "操作过于频繁，请稍后再试"),
            (Error::internal("secret"), 500, "500", "服务内部错误"),
            (Error::Busy { retry_after }, 503, "503", "服务暂不可用"),
            (Error::unavailable("secret"), 503, "503", "服务暂不可用"),
        ] {
            assert_eq!(shown(Portal::fail(&error)), (status, envelope(code, text)), "{error}");
        }
    }
}
