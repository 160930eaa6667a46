//! How this dialect says no.

use std::borrow::Cow;

use actix_web::HttpResponse;
use stele_core::Error;
use stele_dialect::{CallError, Dialect, FieldError, RequestRejection, finish_error_response, status_for_error};

use crate::wire;

/// The dialect.
#[derive(Debug)]
pub struct Jwt;

/// What a handler gives.
pub type HandlerResult = Result<HttpResponse, CallError<Jwt>>;

impl Dialect for Jwt {
    const NAME: &'static str = "jwt";

    fn render_rejection(refusal: &RequestRejection) -> HttpResponse {
        wire::error_response(refusal.status(), &refusal.chinese_text())
    }

    fn render_error(error: &Error) -> HttpResponse {
        let text = match error {
            Error::Invalid(field) => {
                return Self::render_rejection(&RequestRejection::InvalidInput(FieldError::Invalid(Cow::Borrowed(
                    field,
                ))));
            }
            Error::UnknownUser | Error::WrongPassword => "用户名或密码错误",
            Error::Disabled => "用户已被禁用",
            Error::ChallengeRequired | Error::ChallengeFailed => "请输入验证码",
            Error::WrongCode => "验证码错误",
            // Each route that takes a token has words of its own for these: see `refused`.
            Error::NotAuthenticated | Error::NotAllowed | Error::TicketRefused => "登录已失效",
            // No route of this dialect meets these three.
            Error::Stale | Error::Replayed => "请求已失效",
            Error::IdentifierTaken => "用户已存在",
            Error::RateLimited { .. } => "操作过于频繁，请稍后再试",
            Error::Busy { .. } | Error::Unavailable(_) => "服务暂不可用",
            Error::Internal(_) => "服务内部错误",
        };
        wire::error_response(status_for_error(error), text)
    }
}

/// Renders a failure of a route that takes a token; the document's `text` is for a token that does not do.
pub(crate) fn token_error_response(error: Error, text: &'static str) -> HandlerResult {
    let documented = matches!(error, Error::NotAuthenticated | Error::NotAllowed);
    documented_error_response(error, text, documented)
}

/// Renders a failure of a route that takes no token and can fail by a fault of ours only, which the document's `text`
/// is then for.
pub(crate) fn server_error_response(error: Error, text: &'static str) -> HandlerResult {
    let documented = matches!(error, Error::Unavailable(_) | Error::Internal(_));
    documented_error_response(error, text, documented)
}

fn documented_error_response(error: Error, text: &'static str, documented: bool) -> HandlerResult {
    if documented {
        Ok(finish_error_response(&error, wire::error_response(status_for_error(&error), text)))
    } else {
        Err(error.into())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use actix_web::ResponseError as _;
    use actix_web::body::MessageBody as _;

    use super::*;

    fn status_and_body(response: HttpResponse) -> (u16, String) {
        let status = response.status().as_u16();
        let body = response.into_body().try_into_bytes().unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    fn error_body(text: &str) -> String {
        format!(r#"{{"code":-1,"message":"{text}"}}"#)
    }

    #[test]
    fn routes_return_their_documented_error_text() {
        let shown = |reply: HandlerResult| match reply {
            Ok(response) => status_and_body(response),
            Err(failure) => status_and_body(failure.error_response()),
        };
        let retry_after = Duration::from_secs(1);
        assert_eq!(shown(token_error_response(Error::NotAuthenticated, "注销失败")), (401, error_body("注销失败")));
        assert_eq!(
            shown(token_error_response(Error::unavailable("secret"), "注销失败")),
            (503, error_body("服务暂不可用"))
        );
        assert_eq!(
            shown(server_error_response(Error::unavailable("secret"), "发送短信失败")),
            (503, error_body("发送短信失败"))
        );
        assert_eq!(
            shown(server_error_response(Error::internal("secret"), "发送短信失败")),
            (500, error_body("发送短信失败"))
        );
        let many = server_error_response(Error::RateLimited { retry_after }, "发送短信失败");
        assert_eq!(shown(many), (429, error_body("操作过于频繁，请稍后再试")));
    }
}
