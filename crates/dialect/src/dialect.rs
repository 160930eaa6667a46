//! What a dialect tells the chassis: how it says no.

use std::marker::PhantomData;

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, ResponseError};
use stele_core::Error;
use stele_core::proof::ProofKind;
use stele_service::BEARER_CHALLENGE;
use stele_service::log_text::LineBudget;
use tokio::time::Instant;

use crate::fields::Fault;

/// Why the chassis itself turns a request away, before any use case sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Nothing is served at this path.
    NotFound,
    /// The path is served, by another method.
    Method,
    /// The body is larger than the limit.
    TooLarge,
    /// The body took too long.
    Timeout,
    /// The body cannot be used.
    Input(Fault),
    /// A handler panicked.
    Internal,
}

impl Refusal {
    /// The status that every dialect answers this with (`docs/PROTOCOLS.md`, "Common readings").
    pub fn status(&self) -> StatusCode {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Timeout => StatusCode::REQUEST_TIMEOUT,
            Self::Input(_) => StatusCode::BAD_REQUEST,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// What it is called in Chinese, for dialects that have no words of their own for it.
    pub fn text(&self) -> String {
        match self {
            Self::NotFound => "接口不存在".to_owned(),
            Self::Method => "请求方法不支持".to_owned(),
            Self::TooLarge => "请求内容过大".to_owned(),
            Self::Timeout => "请求超时".to_owned(),
            Self::Input(fault) => fault.to_string(),
            Self::Internal => "服务内部错误".to_owned(),
        }
    }
}

/// The status that every dialect answers a domain error with: 200 for all that the dialect can say in its body.
pub fn status_of(error: &Error) -> StatusCode {
    match error {
        Error::Invalid(_) => StatusCode::BAD_REQUEST,
        Error::NotAuthenticated | Error::NotAllowed => StatusCode::UNAUTHORIZED,
        Error::TooMany { .. } => StatusCode::TOO_MANY_REQUESTS,
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
    const PROOFS: &'static [ProofKind] = &[ProofKind::Raw];

    /// Renders a refusal of the chassis.
    fn refuse(refusal: &Refusal) -> HttpResponse;

    /// Renders a domain error: one exhaustive match.
    fn fail(error: &Error) -> HttpResponse;
}

/// Why a handler of dialect `D` did not do what it was asked.
#[derive(Debug)]
pub enum Failure<D> {
    /// The chassis refuses.
    Refused(Refusal),
    /// The domain refuses.
    Failed(Error),
    /// Never made: it holds the dialect's type.
    #[doc(hidden)]
    Never(std::convert::Infallible, PhantomData<D>),
}

impl<D> From<Fault> for Failure<D> {
    fn from(fault: Fault) -> Self {
        Self::Refused(Refusal::Input(fault))
    }
}

impl<D> From<Refusal> for Failure<D> {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl<D> From<Error> for Failure<D> {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl<D> std::fmt::Display for Failure<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(refusal) => write!(f, "refused: {refusal:?}"),
            Self::Failed(error) => error.fmt(f),
            Self::Never(never, _) => match *never {},
        }
    }
}

impl<D: Dialect> ResponseError for Failure<D> {
    fn error_response(&self) -> HttpResponse {
        match self {
            Self::Refused(refusal) => finish(D::refuse(refusal), None),
            Self::Failed(error) => failed(error, D::fail(error)),
            Self::Never(never, _) => match *never {},
        }
    }
}

/// While a store is away every request fails, and clients send as many as they like.
static FAULTS: LineBudget = LineBudget::new(300);

/// Adds what every dialect's answer to a domain error has, and logs the cause if the fault is ours.
pub fn failed(error: &Error, response: HttpResponse) -> HttpResponse {
    if let Error::Unavailable(cause) | Error::Internal(cause) = error
        && let Some(left_out) = FAULTS.take(Instant::now())
    {
        tracing::error!(%cause, left_out = left_out.field(), "the request failed by our fault");
    }
    let ours = matches!(error, Error::Unavailable(_));
    finish(response, error.retry_after().or(ours.then_some(1)))
}

fn finish(mut response: HttpResponse, retry_after: Option<u64>) -> HttpResponse {
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
pub fn json(status: StatusCode, body: &impl serde::Serialize) -> HttpResponse {
    match serde_json::to_vec(body) {
        Ok(bytes) => {
            finish(HttpResponse::build(status).content_type("application/json; charset=utf-8").body(bytes), None)
        }
        Err(cause) => {
            tracing::error!(%cause, "an answer could not be written");
            finish(HttpResponse::InternalServerError().finish(), None)
        }
    }
}
