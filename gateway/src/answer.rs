//! The gateway's own answers to clients.

use hyper::body::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{HeaderMap, StatusCode};

/// What a client should wait before it tries again when a service is away, in seconds.
const RETRY: HeaderValue = HeaderValue::from_static("1");

/// An answer of the gateway's own.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn new(status: StatusCode) -> Self {
        Self { status, headers: HeaderMap::new(), body: Bytes::new() }
    }

    pub(crate) fn json(status: StatusCode, body: impl Into<Bytes>) -> Self {
        let answer = Self::new(status)
            .with(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"))
            .with(CACHE_CONTROL, HeaderValue::from_static("no-store"))
            .body(body);
        if status == StatusCode::SERVICE_UNAVAILABLE { answer.with(RETRY_AFTER, RETRY) } else { answer }
    }

    pub(crate) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    pub(crate) fn with_static(self, name: HeaderName, value: &'static str) -> Self {
        self.with(name, HeaderValue::from_static(value))
    }

    pub(crate) fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }
}
