//! The gateway's own answers, in the dialect of the route they are given on.

use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header::ALLOW;
use serde::Deserialize;
use serde_json::json;

use crate::answer::Answer;

/// Why the gateway answers in place of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The path is spelled in a way that never reaches a service.
    NotFound,
    /// A method that is never passed on.
    Method,
    /// The body exceeds `STELE_BODY_LIMIT`.
    TooLarge,
    /// Too many headers, or too long ones.
    HeadersTooLarge,
    /// The body is not framed as its headers say.
    BadRequest,
    /// The client took too long to send its body.
    SlowRequest,
    /// The service took too long to answer.
    SlowService,
    /// No instance of the service can be reached, or it broke off.
    Unavailable,
}

impl Cause {
    /// Every cause.
    pub const ALL: [Self; 8] = [
        Self::NotFound,
        Self::Method,
        Self::TooLarge,
        Self::HeadersTooLarge,
        Self::BadRequest,
        Self::SlowRequest,
        Self::SlowService,
        Self::Unavailable,
    ];

    /// A stable name, for metrics and for the routing table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::Method => "method",
            Self::TooLarge => "too_large",
            Self::HeadersTooLarge => "headers_too_large",
            Self::BadRequest => "bad_request",
            Self::SlowRequest => "slow_request",
            Self::SlowService => "slow_service",
            Self::Unavailable => "unavailable",
        }
    }

    /// The HTTP status it is answered with, in every dialect.
    pub fn status(self) -> StatusCode {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::SlowRequest => StatusCode::REQUEST_TIMEOUT,
            Self::SlowService => StatusCode::GATEWAY_TIMEOUT,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// The bodies of a dialect, by cause, as the routing table has them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Refusals {
    not_found: String,
    method: String,
    too_large: String,
    headers_too_large: String,
    bad_request: String,
    slow_request: String,
    slow_service: String,
    unavailable: String,
}

impl Refusals {
    pub(crate) fn body(&self, cause: Cause) -> &str {
        match cause {
            Cause::NotFound => &self.not_found,
            Cause::Method => &self.method,
            Cause::TooLarge => &self.too_large,
            Cause::HeadersTooLarge => &self.headers_too_large,
            Cause::BadRequest => &self.bad_request,
            Cause::SlowRequest => &self.slow_request,
            Cause::SlowService => &self.slow_service,
            Cause::Unavailable => &self.unavailable,
        }
    }

    /// The first body that is not JSON: clients would choke on it when it is needed most.
    pub(crate) fn malformed(&self) -> Option<&str> {
        let bodies = Cause::ALL.into_iter().map(|cause| self.body(cause));
        bodies.into_iter().find(|body| serde_json::from_str::<serde::de::IgnoredAny>(body).is_err())
    }

    pub(crate) fn answer(&self, cause: Cause) -> Answer {
        let answer = Answer::json(cause.status(), self.body(cause).to_owned());
        // RFC 9110, section 15.5.6, asks for it; all that any service takes, for only the service knows better.
        if cause == Cause::Method { answer.with_static(ALLOW, "GET, POST") } else { answer }
    }
}

/// The answer to a request that has no route, for this cause: in no dialect.
pub(crate) fn without_route(cause: Cause) -> Answer {
    let text = match cause {
        Cause::NotFound => return no_route(),
        Cause::Method => "请求方法不支持 / method not allowed",
        Cause::TooLarge => "请求内容过大 / content too large",
        Cause::HeadersTooLarge => "请求头过大 / header fields too large",
        Cause::BadRequest => "请求无法解析 / bad request",
        Cause::SlowRequest => "请求超时 / request timeout",
        Cause::SlowService => "服务超时 / gateway timeout",
        Cause::Unavailable => "服务暂不可用 / service unavailable",
    };
    Answer::json(cause.status(), json!({"error": cause.as_str(), "message": text}).to_string())
}

/// The 404 where no route leads.
pub(crate) fn no_route() -> Answer {
    Answer::json(StatusCode::NOT_FOUND, Bytes::from_static(NO_ROUTE.as_bytes()))
}

const NO_ROUTE: &str = r#"{"error":"no_route","message":"没有匹配的接口 / no route"}"#;
