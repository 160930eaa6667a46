//! Which web pages may call the services from a browser.

use hyper::header::{HeaderName, HeaderValue, VARY};
use hyper::{HeaderMap, Method, StatusCode};
use stele_service::cors::{AllowedOrigins, CorsHeaders};

use crate::headers::{HyperHeaders, has_token};
use crate::local_response::LocalResponse;

/// Says to browsers what `STELE_CORS_ORIGINS` allows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CorsPolicy(pub(crate) AllowedOrigins);

impl CorsPolicy {
    /// The answer to a preflight, if that is what the request is.
    pub(crate) fn preflight(&self, method: &Method, headers: &HeaderMap) -> Option<LocalResponse> {
        let fields = self.0.preflight_headers(&HyperHeaders(headers)).filter(|_| method == Method::OPTIONS)?;
        let mut answer = LocalResponse::new(StatusCode::NO_CONTENT);
        append_fields(&mut answer.headers, fields);
        Some(answer)
    }

    /// Says in the head of an answer whether the page of `origin`, which asked, may read it.
    pub(crate) fn add_response_headers(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
        append_fields(headers, self.0.response_headers(origin.map(HeaderValue::as_bytes)));
    }
}

fn append_fields(headers: &mut HeaderMap, fields: CorsHeaders<'_>) {
    for (name, value) in fields {
        let name = HeaderName::from_static(name);
        // A service says the same of itself.
        if name == VARY && has_token(headers, &name, &value) {
            continue;
        }
        if let Ok(value) = HeaderValue::try_from(&*value) {
            headers.append(name, value);
        }
    }
}
