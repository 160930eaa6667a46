//! CORS: which web origins may call the services from a browser.

use hyper::header::{HeaderName, HeaderValue, VARY};
use hyper::{HeaderMap, Method, StatusCode};
use stele_service::cors::{AllowedOrigins, CorsHeaders};

use crate::headers::{HyperHeaders, has_token};
use crate::local_response::LocalResponse;

/// The allowed origins: `STELE_CORS_ORIGINS`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CorsPolicy(pub(crate) AllowedOrigins);

impl CorsPolicy {
    /// The response to a CORS preflight; `None` for any other request.
    pub(crate) fn preflight(&self, method: &Method, headers: &HeaderMap) -> Option<LocalResponse> {
        let fields = self.0.preflight_headers(&HyperHeaders(headers)).filter(|_| method == Method::OPTIONS)?;
        let mut response = LocalResponse::new(StatusCode::NO_CONTENT);
        append_fields(&mut response.headers, fields);
        Some(response)
    }

    /// Adds the fields that allow or deny `origin`, the request's, to read the response.
    pub(crate) fn add_response_headers(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
        append_fields(headers, self.0.response_headers(origin.map(HeaderValue::as_bytes)));
    }
}

fn append_fields(headers: &mut HeaderMap, fields: CorsHeaders<'_>) {
    for (name, value) in fields {
        let name = HeaderName::from_static(name);
        // The service may already have sent the same `Vary`.
        if name == VARY && has_token(headers, &name, &value) {
            continue;
        }
        if let Ok(value) = HeaderValue::try_from(&*value) {
            headers.append(name, value);
        }
    }
}
