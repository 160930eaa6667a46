//! The gateway's own answers, in the dialect of the route they are given on.

use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header::ALLOW;
use serde::Deserialize;
use serde_json::json;

use crate::local_response::LocalResponse;

/// Why the gateway answers in place of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// The path is spelled in a way that never reaches a service.
    NotFound,
    /// A method that is never passed on.
    MethodNotAllowed,
    /// The body exceeds `STELE_BODY_LIMIT`.
    ContentTooLarge,
    /// Too many headers, or too long ones.
    HeadersTooLarge,
    /// The body is not framed as its headers say.
    BadRequest,
    /// The client took too long to send its body.
    RequestTimeout,
    /// The service took too long to answer.
    GatewayTimeout,
    /// No instance of the service can be reached, or it broke off.
    ServiceUnavailable,
}

impl Rejection {
    /// Every cause.
    pub const ALL: [Self; 8] = [
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::ContentTooLarge,
        Self::HeadersTooLarge,
        Self::BadRequest,
        Self::RequestTimeout,
        Self::GatewayTimeout,
        Self::ServiceUnavailable,
    ];

    /// A stable name, for metrics and for the routing table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method",
            Self::ContentTooLarge => "too_large",
            Self::HeadersTooLarge => "headers_too_large",
            Self::BadRequest => "bad_request",
            Self::RequestTimeout => "slow_request",
            Self::GatewayTimeout => "slow_service",
            Self::ServiceUnavailable => "unavailable",
        }
    }

    /// The HTTP status it is answered with, in every dialect.
    pub fn status(self) -> StatusCode {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::ContentTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::GatewayTimeout => StatusCode::GATEWAY_TIMEOUT,
            Self::ServiceUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// The bodies of a dialect, by cause, as the routing table has them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ErrorPages {
    not_found: String,
    method: String,
    too_large: String,
    headers_too_large: String,
    bad_request: String,
    slow_request: String,
    slow_service: String,
    unavailable: String,
}

impl ErrorPages {
    pub(crate) fn body(&self, cause: Rejection) -> &str {
        match cause {
            Rejection::NotFound => &self.not_found,
            Rejection::MethodNotAllowed => &self.method,
            Rejection::ContentTooLarge => &self.too_large,
            Rejection::HeadersTooLarge => &self.headers_too_large,
            Rejection::BadRequest => &self.bad_request,
            Rejection::RequestTimeout => &self.slow_request,
            Rejection::GatewayTimeout => &self.slow_service,
            Rejection::ServiceUnavailable => &self.unavailable,
        }
    }

    /// The first body that is not JSON: clients would choke on it when it is needed most.
    pub(crate) fn first_invalid_json(&self) -> Option<&str> {
        let bodies = Rejection::ALL.into_iter().map(|cause| self.body(cause));
        bodies.into_iter().find(|body| serde_json::from_str::<serde::de::IgnoredAny>(body).is_err())
    }

    pub(crate) fn response(&self, cause: Rejection) -> LocalResponse {
        let answer = LocalResponse::json(cause.status(), self.body(cause).to_owned());
        // RFC 9110, section 15.5.6, asks for it; all that any service takes, for only the service knows better.
        if cause == Rejection::MethodNotAllowed { answer.with_static_header(ALLOW, "GET, POST") } else { answer }
    }
}

/// The answer to a request that has no route, for this cause: in no dialect.
pub(crate) fn default_error_page(cause: Rejection) -> LocalResponse {
    let text = match cause {
        Rejection::NotFound => return route_not_found(),
        Rejection::MethodNotAllowed => "请求方法不支持 / method not allowed",
        Rejection::ContentTooLarge => "请求内容过大 / content too large",
        Rejection::HeadersTooLarge => "请求头过大 / header fields too large",
        Rejection::BadRequest => "请求无法解析 / bad request",
        Rejection::RequestTimeout => "请求超时 / request timeout",
        Rejection::GatewayTimeout => "服务超时 / gateway timeout",
        Rejection::ServiceUnavailable => "服务暂不可用 / service unavailable",
    };
    LocalResponse::json(cause.status(), json!({"error": cause.as_str(), "message": text}).to_string())
}

/// The 404 where no route leads.
pub(crate) fn route_not_found() -> LocalResponse {
    LocalResponse::json(StatusCode::NOT_FOUND, Bytes::from_static(ROUTE_NOT_FOUND_BODY.as_bytes()))
}

const ROUTE_NOT_FOUND_BODY: &str = r#"{"error":"no_route","message":"没有匹配的接口 / no route"}"#;
