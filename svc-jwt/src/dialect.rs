//! Error responses of the JWT dialect.

use std::borrow::Cow;

use actix_web::HttpResponse;
use stele_core::Error;
use stele_dialect::{CallError, Dialect, FieldError, RequestRejection, finish_error_response, status_for_error};

use crate::wire;

/// The JWT dialect.
#[derive(Debug)]
pub struct Jwt;

/// The result of a handler.
pub type HandlerResult = Result<HttpResponse, CallError<Jwt>>;

impl Dialect for Jwt {
    const NAME: &'static str = "jwt";

    fn render_rejection(rejection: &RequestRejection) -> HttpResponse {
        wire::error_response(rejection.status(), &rejection.chinese_text())
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
            Error::CommonPassword => "密码过于常见，请换一个",
            // Endpoints that take a token have their own texts for these: see `token_error_response`.
            Error::NotAuthenticated | Error::NotAllowed | Error::TicketRefused => "登录已失效",
            // Not reachable: this dialect has no salted proofs and no registration.
            Error::Stale | Error::Replayed => "请求已失效",
            Error::IdentifierTaken => "用户已存在",
            Error::RateLimited { .. } => "操作过于频繁，请稍后再试",
            Error::Busy { .. } | Error::Unavailable(_) => "服务暂不可用",
            Error::Internal(_) => "服务内部错误",
        };
        wire::error_response(status_for_error(error), text)
    }
}

/// The error response of an endpoint that takes a token: the documented `text` if the token is rejected, else the
/// default text of the error.
pub(crate) fn token_error_response(error: Error, text: &'static str) -> HandlerResult {
    let error_text = match error {
        Error::NotAuthenticated | Error::NotAllowed => ErrorText::Documented(text),
        _ => ErrorText::Default,
    };
    error_response(error, error_text)
}

/// The error response of an endpoint without a token: the documented `text` for a server error, else the default text
/// of the error.
pub(crate) fn server_error_response(error: Error, text: &'static str) -> HandlerResult {
    let error_text = match error {
        Error::Unavailable(_) | Error::Internal(_) => ErrorText::Documented(text),
        _ => ErrorText::Default,
    };
    error_response(error, error_text)
}

/// The text of an error response.
#[derive(Clone, Copy)]
enum ErrorText {
    /// The endpoint's text in the API document.
    Documented(&'static str),
    /// The text of [`Dialect::render_error`].
    Default,
}

fn error_response(error: Error, text: ErrorText) -> HandlerResult {
    match text {
        ErrorText::Documented(text) => {
            Ok(finish_error_response(&error, wire::error_response(status_for_error(&error), text)))
        }
        ErrorText::Default => Err(error.into()),
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
        let render = |result: HandlerResult| match result {
            Ok(response) => status_and_body(response),
            Err(error) => status_and_body(error.error_response()),
        };
        let retry_after = Duration::from_secs(1);
        assert_eq!(render(token_error_response(Error::NotAuthenticated, "注销失败")), (401, error_body("注销失败")));
        assert_eq!(
            render(token_error_response(Error::unavailable("secret"), "注销失败")),
            (503, error_body("服务暂不可用"))
        );
        assert_eq!(
            render(server_error_response(Error::unavailable("secret"), "发送短信失败")),
            (503, error_body("发送短信失败"))
        );
        assert_eq!(
            render(server_error_response(Error::internal("secret"), "发送短信失败")),
            (500, error_body("发送短信失败"))
        );
        let rate_limited = server_error_response(Error::RateLimited { retry_after }, "发送短信失败");
        assert_eq!(render(rate_limited), (429, error_body("操作过于频繁，请稍后再试")));
    }
}
