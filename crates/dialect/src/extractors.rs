//! Actix extractors of the handlers: request fields, an ignored or undecoded body, and the client address.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::error::InternalError;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use actix_web::web::BytesMut;
use actix_web::{FromRequest, HttpRequest, HttpResponse};
use futures_util::StreamExt as _;
use futures_util::future::{Ready, ready};
use stele_service::common_settings::BodyLimit;
use stele_service::trusted_proxies::TrustedProxies;
use zeroize::{Zeroize as _, Zeroizing};

use crate::body::inflate::inflate;
use crate::dialect::RequestRejection;
use crate::fields::{FieldError, Fields};

/// The largest body if no [`BodyLimit`] is set, in bytes; also the most memory that is allocated for a declared
/// `Content-Length` before the body arrives.
const DEFAULT_BODY_LIMIT: usize = 64 * 1024;
/// Timeout for receiving a whole body.
const BODY_READ_TIMEOUT: Duration = Duration::from_secs(10);

/// [`crate::Dialect::render_rejection`] of this service's dialect, as application data for the extractors.
#[derive(Clone, Copy)]
pub struct RejectionRenderer(pub fn(&RequestRejection) -> HttpResponse);

impl RejectionRenderer {
    fn render(request: &HttpRequest, rejection: &RequestRejection) -> actix_web::Error {
        let response = match request.app_data::<Self>() {
            Some(Self(render)) => render(rejection),
            None => HttpResponse::build(rejection.status()).finish(),
        };
        InternalError::from_response(rejection.chinese_text(), response).into()
    }
}

impl FromRequest for Fields {
    type Error = actix_web::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Self::Error>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        read_then_parse(request, payload, parse_fields)
    }
}

/// Parses the fields of the body and of the query string.
fn parse_fields(request: &HttpRequest, body: &[u8]) -> Result<Fields, RequestRejection> {
    let header_value = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let inflated = match header_value(CONTENT_ENCODING) {
        Some(encoding) => inflate(encoding, body, body_limit(request))?,
        None => None,
    };
    let body = inflated.as_ref().map_or(body, |inflated| inflated.as_slice());
    let mut fields = Fields::from_body(header_value(CONTENT_TYPE), body).map_err(RequestRejection::InvalidInput)?;
    fields.add_query(request.query_string());
    Ok(fields)
}

/// The body of a call without parameters: read within the size limit and the timeout, and discarded.
#[derive(Clone, Copy, Debug)]
pub struct IgnoredBody;

impl FromRequest for IgnoredBody {
    type Error = actix_web::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Self::Error>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        read_then_parse(request, payload, |_, _| Ok(Self))
    }
}

/// The body as it was received, for a service that decodes it itself: read within the size limit and the timeout, wiped
/// when dropped.
pub struct RawBody(Zeroizing<Vec<u8>>);

impl RawBody {
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for RawBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RawBody({} bytes)", self.0.len())
    }
}

impl FromRequest for RawBody {
    type Error = actix_web::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Self::Error>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        read_then_parse(request, payload, |_, body| Ok(Self(Zeroizing::new(body.to_vec()))))
    }
}

fn read_then_parse<T: 'static>(
    request: &HttpRequest,
    payload: &mut Payload,
    parse: fn(&HttpRequest, &[u8]) -> Result<T, RequestRejection>,
) -> Pin<Box<dyn Future<Output = Result<T, actix_web::Error>>>> {
    let (request, payload) = (request.clone(), payload.take());
    Box::pin(async move {
        let body = read_body(&request, payload).await;
        let outcome = body.and_then(|mut body| {
            let parsed = parse(&request, &body);
            // The body may hold passwords. The HTTP library's own buffers cannot be wiped from here.
            body.as_mut().zeroize();
            parsed
        });
        outcome.map_err(|rejection| RejectionRenderer::render(&request, &rejection))
    })
}

/// The largest body in bytes. The limit applies before and after decompression.
fn body_limit(request: &HttpRequest) -> usize {
    request.app_data::<BodyLimit>().map_or(DEFAULT_BODY_LIMIT, |limit| limit.0)
}

async fn read_body(request: &HttpRequest, mut payload: Payload) -> Result<BytesMut, RequestRejection> {
    let limit = body_limit(request);
    let content_length = request.headers().get("content-length").and_then(|v| v.to_str().ok()?.parse::<usize>().ok());
    if content_length.is_some_and(|length| length > limit) {
        return Err(RequestRejection::BodyTooLarge);
    }
    let read_chunks = async {
        let mut body = BytesMut::with_capacity(content_length.unwrap_or(0).min(DEFAULT_BODY_LIMIT));
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(|_| RequestRejection::InvalidInput(FieldError::MalformedRequest))?;
            if body.len() + chunk.len() > limit {
                return Err(RequestRejection::BodyTooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    };
    tokio::time::timeout(BODY_READ_TIMEOUT, read_chunks).await.unwrap_or(Err(RequestRejection::RequestTimeout))
}

/// The client address: the peer's, or the one that a trusted proxy reports.
#[derive(Clone, Copy, Debug)]
pub struct ClientAddress(pub IpAddr);

impl FromRequest for ClientAddress {
    type Error = std::convert::Infallible;
    type Future = Ready<Result<Self, Self::Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        // Without a peer address (a Unix socket, a test) all clients share one address, and thus one rate limit.
        let peer = request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
        let trusted_proxies = request.app_data::<TrustedProxies>();
        ready(Ok(Self(trusted_proxies.map_or(peer, |proxies| proxies.client_address(peer, request.headers())))))
    }
}
