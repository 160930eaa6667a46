//! Error pages: the responses to rejected requests, in the format of the route's dialect.

use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header::ALLOW;
use serde::Deserialize;
use serde_json::json;

use crate::local_response::LocalResponse;

/// Why the gateway answers a request with an error page: it rejects the request, or has no response from the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// The path is not canonical, e.g. it has a `..` segment.
    NotFound,
    /// The method is CONNECT or TRACE, which are never forwarded.
    MethodNotAllowed,
    /// The body exceeds `STELE_BODY_LIMIT`.
    ContentTooLarge,
    /// The head has too many header fields, or header fields and request target together have too many bytes.
    HeadersTooLarge,
    /// The head or the body framing is invalid or ambiguous, or the request asks for an upgrade to WebSocket.
    BadRequest,
    /// The client took too long to send its request.
    RequestTimeout,
    /// The service took too long to respond.
    GatewayTimeout,
    /// No instance of the service is available, all upstream connections are in use (load shedding), or the response of
    /// the service was invalid or truncated.
    ServiceUnavailable,
}

impl Rejection {
    /// All variants.
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

    /// A stable name: the metric label `cause`, the key in the routing table, and `error` in the default error page.
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

    /// The HTTP status. `STELE_STATUS_200` replaces it by 200 for the dialects that it lists.
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

/// The response bodies of a dialect by rejection: `[route.refusals]` in the routing table.
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
    pub(crate) fn body(&self, rejection: Rejection) -> &str {
        match rejection {
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

    /// The first body that is not JSON, which clients could not parse.
    pub(crate) fn first_invalid_json(&self) -> Option<&str> {
        let mut bodies = Rejection::ALL.into_iter().map(|rejection| self.body(rejection));
        bodies.find(|body| serde_json::from_str::<serde::de::IgnoredAny>(body).is_err())
    }

    /// The error page for `rejection`.
    pub(crate) fn response(&self, rejection: Rejection) -> LocalResponse {
        let response = LocalResponse::json(rejection.status(), self.body(rejection).to_owned());
        // RFC 9110 §15.5.6 requires `Allow`. The gateway does not know the methods of a path, so it lists the
        // methods that the services use.
        match rejection {
            Rejection::MethodNotAllowed => response.with_static_header(ALLOW, "GET, POST"),
            _ => response,
        }
    }
}

/// The error page for a request without a route, which has no dialect.
pub(crate) fn default_error_page(rejection: Rejection) -> LocalResponse {
    let message = match rejection {
        Rejection::NotFound => return route_not_found(),
        Rejection::MethodNotAllowed => "请求方法不支持 / method not allowed",
        Rejection::ContentTooLarge => "请求内容过大 / content too large",
        Rejection::HeadersTooLarge => "请求头过大 / header fields too large",
        Rejection::BadRequest => "请求无法解析 / bad request",
        Rejection::RequestTimeout => "请求超时 / request timeout",
        Rejection::GatewayTimeout => "服务超时 / gateway timeout",
        Rejection::ServiceUnavailable => "服务暂不可用 / service unavailable",
    };
    LocalResponse::json(rejection.status(), json!({"error": rejection.as_str(), "message": message}).to_string())
}

/// The 404 for a path without a route.
pub(crate) fn route_not_found() -> LocalResponse {
    LocalResponse::json(StatusCode::NOT_FOUND, Bytes::from_static(ROUTE_NOT_FOUND_BODY.as_bytes()))
}

const ROUTE_NOT_FOUND_BODY: &str = r#"{"error":"no_route","message":"没有匹配的接口 / no route"}"#;
