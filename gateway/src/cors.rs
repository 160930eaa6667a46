//! CORS (cross-origin resource sharing): answers preflight requests, and adds the response headers that let web pages
//! of the allowed origins call the services.

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
    pub(crate) fn preflight_response(&self, method: &Method, headers: &HeaderMap) -> Option<LocalResponse> {
        let fields = self.0.preflight_headers(&HyperHeaders(headers)).filter(|_| method == Method::OPTIONS)?;
        let mut response = LocalResponse::new(StatusCode::NO_CONTENT);
        append_cors_headers(&mut response.headers, fields);
        Some(response)
    }

    /// Adds the CORS headers of a response to a request whose `Origin` header is `origin`.
    pub(crate) fn add_response_headers(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
        append_cors_headers(headers, self.0.response_headers(origin.map(HeaderValue::as_bytes)));
    }
}

fn append_cors_headers(headers: &mut HeaderMap, fields: CorsHeaders<'_>) {
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
