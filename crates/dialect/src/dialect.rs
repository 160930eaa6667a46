//! The [`Dialect`] trait: how a dialect renders rejected requests and domain errors, and the headers that all error
//! responses share.

use std::marker::PhantomData;

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, ResponseError};
use stele_core::Error;
use stele_core::proof::ProofKind;
use stele_service::BEARER_CHALLENGE;
use stele_service::log_sanitizer::LogRateLimiter;
use tokio::time::Instant;

use crate::fields::FieldError;

/// Why the server, rather than a use case, rejects a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestRejection {
    /// No endpoint has this path, or the path is ambiguous.
    NotFound,
    /// The path has an endpoint, but not for this method.
    MethodNotAllowed,
    /// The body, compressed or decompressed, exceeds `STELE_BODY_LIMIT`.
    BodyTooLarge,
    /// The head or the body was not received in time.
    RequestTimeout,
    /// The request cannot be parsed, or a field is missing, duplicated or invalid.
    InvalidInput(FieldError),
    /// A handler panicked.
    Internal,
}

impl RequestRejection {
    /// The HTTP status, the same in every dialect (docs/PROTOCOLS.md).
    pub fn status(&self) -> StatusCode {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::InvalidInput(_) => StatusCode::BAD_REQUEST,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The Chinese message, for dialects whose API document has none for this rejection.
    pub fn chinese_text(&self) -> String {
        match self {
            Self::NotFound => "接口不存在".to_owned(),
            Self::MethodNotAllowed => "请求方法不支持".to_owned(),
            Self::BodyTooLarge => "请求内容过大".to_owned(),
            Self::RequestTimeout => "请求超时".to_owned(),
            Self::InvalidInput(error) => error.to_string(),
            Self::Internal => "服务内部错误".to_owned(),
        }
    }
}

/// The HTTP status of a domain error, the same in every dialect: 200 for errors that the body reports by its code.
pub fn status_for_error(error: &Error) -> StatusCode {
    match error {
        Error::Invalid(_) | Error::CommonPassword => StatusCode::BAD_REQUEST,
        Error::NotAuthenticated | Error::NotAllowed => StatusCode::UNAUTHORIZED,
        Error::RateLimited { .. } => StatusCode::TOO_MANY_REQUESTS,
        Error::Busy { .. } | Error::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        Error::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        Error::UnknownUser
        | Error::WrongPassword
        | Error::Stale
        | Error::Replayed
        | Error::Disabled
        | Error::ChallengeRequired
        | Error::ChallengeFailed
        | Error::WrongCode
        | Error::IdentifierTaken
        | Error::TicketRefused => StatusCode::OK,
    }
}

/// A dialect: how it renders rejected requests and domain errors. Implementations set status and body; the server adds
/// the headers that all dialects share.
pub trait Dialect: std::fmt::Debug + 'static {
    /// The name of the dialect's service, and of the dialect in stored sessions, rate limits and verification codes.
    const NAME: &'static str;

    /// The password proofs that the dialect's clients may send.
    const ACCEPTED_PROOFS: &'static [ProofKind] = &[ProofKind::Raw];

    /// Renders a request that the server rejects.
    fn render_rejection(rejection: &RequestRejection) -> HttpResponse;

    /// Renders a domain error. Implement it as one exhaustive match, so that the compiler reports errors without a
    /// case.
    fn render_error(error: &Error) -> HttpResponse;
}

/// The error type of dialect `D`'s handlers; it renders itself in the dialect's format.
#[derive(Debug)]
pub enum CallError<D> {
    /// The request was rejected without a use case.
    Rejected(RequestRejection),
    /// A use case failed.
    Domain(Error),
    /// Never constructed; carries the type parameter.
    #[doc(hidden)]
    Never(std::convert::Infallible, PhantomData<D>),
}

impl<D> From<FieldError> for CallError<D> {
    fn from(error: FieldError) -> Self {
        Self::Rejected(RequestRejection::InvalidInput(error))
    }
}

impl<D> From<RequestRejection> for CallError<D> {
    fn from(rejection: RequestRejection) -> Self {
        Self::Rejected(rejection)
    }
}

impl<D> From<Error> for CallError<D> {
    fn from(error: Error) -> Self {
        Self::Domain(error)
    }
}

impl<D> std::fmt::Display for CallError<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Rejected(rejection) => write!(f, "rejected: {rejection:?}"),
            Self::Domain(error) => error.fmt(f),
            Self::Never(never, _) => match *never {},
        }
    }
}

impl<D: Dialect> ResponseError for CallError<D> {
    fn error_response(&self) -> HttpResponse {
        match self {
            Self::Rejected(rejection) => add_common_headers(D::render_rejection(rejection), None),
            Self::Domain(error) => finish_error_response(error, D::render_error(error)),
            Self::Never(never, _) => match *never {},
        }
    }
}

/// Limits the log lines of server errors to 300 a minute: while a store is down, every request fails.
static SERVER_ERROR_LOG: LogRateLimiter = LogRateLimiter::new(300);

/// Adds `Retry-After` and the other common headers to the response for a domain error. Logs the cause of a server
/// error.
pub fn finish_error_response(error: &Error, response: HttpResponse) -> HttpResponse {
    if let Error::Unavailable(cause) | Error::Internal(cause) = error
        && let Some(left_out) = SERVER_ERROR_LOG.allow(Instant::now())
    {
        tracing::error!(%cause, left_out = left_out.as_log_field(), "the request failed with a server error");
    }
    let is_unavailable = matches!(error, Error::Unavailable(_));
    add_common_headers(response, error.retry_after().or(is_unavailable.then_some(1)))
}

/// The response to a request in a closed dialect: the dialect's own rendering of an unavailable store. Not logged as an
/// error, because an operator closed the dialect.
pub(crate) fn closed_response(render_error: fn(&Error) -> HttpResponse, retry_after: u64) -> HttpResponse {
    add_common_headers(render_error(&Error::unavailable("the dialect is closed")), Some(retry_after))
}

fn add_common_headers(mut response: HttpResponse, retry_after: Option<u64>) -> HttpResponse {
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    // An endpoint may have another scheme, such as Basic.
    if response.status() == StatusCode::UNAUTHORIZED && !response.headers().contains_key(WWW_AUTHENTICATE) {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(BEARER_CHALLENGE));
    }
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A JSON response with `Cache-Control: no-store` and the fields of `body` in declaration order. If `body` cannot be
/// serialized, the response is an empty 500.
pub fn json_response(status: StatusCode, body: &impl serde::Serialize) -> HttpResponse {
    match serde_json::to_vec(body) {
        Ok(bytes) => add_common_headers(
            HttpResponse::build(status).content_type("application/json; charset=utf-8").body(bytes),
            None,
        ),
        Err(cause) => {
            tracing::error!(%cause, "a response could not be serialized");
            add_common_headers(HttpResponse::InternalServerError().finish(), None)
        }
    }
}
