//! How this dialect says no.

use std::borrow::Cow;

use actix_web::HttpResponse;
use stele_core::Error;
use stele_dialect::{Dialect, Failure, Fault, Refusal, failed, status_of};

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
            // Each route that takes a token has words of its own for these: see `refused`.
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

/// Renders a failure of a route that takes a token; the API document's `text` is for a token that does not do.
pub(crate) fn refused(error: Error, text: &'static str) -> Reply {
    let documented = matches!(error, Error::NotAuthenticated | Error::NotAllowed);
    told(error, text, documented)
}

/// Renders a failure of a route that takes no token and can fail by a fault of ours only, which the document's `text`
/// is then for.
pub(crate) fn broken(error: Error, text: &'static str) -> Reply {
    let documented = matches!(error, Error::Unavailable(_) | Error::Internal(_));
    told(error, text, documented)
}

fn told(error: Error, text: &'static str, documented: bool) -> Reply {
    if documented { Ok(failed(&error, wire::failure(status_of(&error), text))) } else { Err(error.into()) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use actix_web::ResponseError as _;
    use actix_web::body::MessageBody as _;

    use super::*;

    fn shown(response: HttpResponse) -> (u16, String) {
        let status = response.status().as_u16();
        let body = response.into_body().try_into_bytes().unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    fn envelope(text: &str) -> String {
        format!(r#"{{"code":-1,"message":"{text}"}}"#)
    }

    #[test]
    fn routes_tell_their_documented_failure() {
        let shown = |reply: Reply| match reply {
            Ok(response) => shown(response),
            Err(failure) => shown(failure.error_response()),
        };
        let retry_after = Duration::from_secs(1);
        assert_eq!(shown(refused(Error::NotAuthenticated, "注销失败")), (401, envelope("注销失败")));
        assert_eq!(shown(refused(Error::unavailable("secret"), "注销失败")), (503, envelope("服务暂不可用")));
        assert_eq!(shown(broken(Error::unavailable("secret"), "发送短信失败")), (503, envelope("发送短信失败")));
        assert_eq!(shown(broken(Error::internal("secret"), "发送短信失败")), (500, envelope("发送短信失败")));
        let many = broken(Error::TooMany { retry_after }, "发送短信失败");
        assert_eq!(shown(many), (429, envelope("操作过于频繁，请稍后再试")));
    }
}
