//! What a dialect tells the chassis: how it says no.

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

/// Why the chassis itself turns a request away, before any use case sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestRejection {
    /// Nothing is served at this path.
    NotFound,
    /// The path is served, by another method.
    MethodNotAllowed,
    /// The body is larger than the limit.
    BodyTooLarge,
    /// The body took too long.
    BodyTimeout,
    /// The body cannot be used.
    InvalidInput(FieldError),
    /// A handler panicked.
    Internal,
}

impl RequestRejection {
    /// The status that every dialect answers this with (DESIGN, "Common").
    pub fn status(&self) -> StatusCode {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::InvalidInput(_) => StatusCode::BAD_REQUEST,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// What it is called in Chinese, for dialects that have no words of their own for it.
    pub fn chinese_text(&self) -> String {
        match self {
            Self::NotFound => "接口不存在".to_owned(),
            Self::MethodNotAllowed => "请求方法不支持".to_owned(),
            Self::BodyTooLarge => "请求内容过大".to_owned(),
            Self::BodyTimeout => "请求超时".to_owned(),
            Self::InvalidInput(fault) => fault.to_string(),
            Self::Internal => "服务内部错误".to_owned(),
        }
    }
}

/// The status that every dialect answers a domain error with: 200 for all that the dialect can say in its body.
pub fn status_for_error(error: &Error) -> StatusCode {
    match error {
        Error::Invalid(_) => StatusCode::BAD_REQUEST,
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

/// A dialect: how it renders what the chassis and the domain refuse. Bodies and statuses only; the chassis adds the
/// headers that all share.
pub trait Dialect: std::fmt::Debug + 'static {
    /// Its name, as its service, its sessions and its codes are called.
    const NAME: &'static str;

    /// What its clients may prove a password by.
    const ACCEPTED_PROOFS: &'static [ProofKind] = &[ProofKind::Raw];

    /// Renders a refusal of the chassis.
    fn render_rejection(refusal: &RequestRejection) -> HttpResponse;

    /// Renders a domain error: one exhaustive match.
    fn render_error(error: &Error) -> HttpResponse;
}

/// Why a handler of dialect `D` did not do what it was asked.
#[derive(Debug)]
pub enum CallError<D> {
    /// The chassis refuses.
    Rejected(RequestRejection),
    /// The domain refuses.
    Domain(Error),
    /// Never made: it holds the dialect's type.
    #[doc(hidden)]
    Never(std::convert::Infallible, PhantomData<D>),
}

impl<D> From<FieldError> for CallError<D> {
    fn from(fault: FieldError) -> Self {
        Self::Rejected(RequestRejection::InvalidInput(fault))
    }
}

impl<D> From<RequestRejection> for CallError<D> {
    fn from(refusal: RequestRejection) -> Self {
        Self::Rejected(refusal)
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
            Self::Rejected(refusal) => write!(f, "refused: {refusal:?}"),
            Self::Domain(error) => error.fmt(f),
            Self::Never(never, _) => match *never {},
        }
    }
}

impl<D: Dialect> ResponseError for CallError<D> {
    fn error_response(&self) -> HttpResponse {
        match self {
            Self::Rejected(refusal) => add_common_headers(D::render_rejection(refusal), None),
            Self::Domain(error) => finish_error_response(error, D::render_error(error)),
            Self::Never(never, _) => match *never {},
        }
    }
}

/// While a store is away every request fails, and clients send as many as they like.
static SERVER_ERROR_LOG: LogRateLimiter = LogRateLimiter::new(300);

/// Adds what every dialect's answer to a domain error has, and logs the cause if the fault is ours.
pub fn finish_error_response(error: &Error, response: HttpResponse) -> HttpResponse {
    if let Error::Unavailable(cause) | Error::Internal(cause) = error
        && let Some(left_out) = SERVER_ERROR_LOG.allow(Instant::now())
    {
        tracing::error!(%cause, left_out = left_out.as_log_field(), "the request failed by our fault");
    }
    let ours = matches!(error, Error::Unavailable(_));
    add_common_headers(response, error.retry_after().or(ours.then_some(1)))
}

fn add_common_headers(mut response: HttpResponse, retry_after: Option<u64>) -> HttpResponse {
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if response.status() == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(BEARER_CHALLENGE));
    }
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A JSON answer with its fields in the order they are declared in, never cached.
pub fn json_response(status: StatusCode, body: &impl serde::Serialize) -> HttpResponse {
    match serde_json::to_vec(body) {
        Ok(bytes) => add_common_headers(
            HttpResponse::build(status).content_type("application/json; charset=utf-8").body(bytes),
            None,
        ),
        Err(cause) => {
            tracing::error!(%cause, "an answer could not be written");
            add_common_headers(HttpResponse::InternalServerError().finish(), None)
        }
    }
}
