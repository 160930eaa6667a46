//! Responses that the gateway generates itself: error pages, index page, API documents, health endpoints, redirects.

use hyper::body::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{HeaderMap, StatusCode};

/// `Retry-After` of every 503, in seconds.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("1");

/// A response that the gateway generates itself.
#[derive(Debug)]
pub(crate) struct LocalResponse {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl LocalResponse {
    pub(crate) fn new(status: StatusCode) -> Self {
        Self { status, headers: HeaderMap::new(), body: Bytes::new() }
    }

    /// A JSON response that is never cached. A 503 has `Retry-After`.
    pub(crate) fn json(status: StatusCode, body: impl Into<Bytes>) -> Self {
        let response = Self::new(status)
            .with_header(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"))
            .with_header(CACHE_CONTROL, HeaderValue::from_static("no-store"))
            .with_body(body);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.with_header(RETRY_AFTER, RETRY_AFTER_SECONDS)
        } else {
            response
        }
    }

    pub(crate) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    pub(crate) fn with_static_header(self, name: HeaderName, value: &'static str) -> Self {
        self.with_header(name, HeaderValue::from_static(value))
    }

    pub(crate) fn with_body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }
}
