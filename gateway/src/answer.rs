//! Answers to clients: those that the gateway makes itself, and what it says with every answer, whoever made it.

use std::borrow::Cow;
use std::io::Write as _;
use std::time::SystemTime;

use actix_web::http::StatusCode;
use actix_web::http::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_TYPE, DATE, HeaderName, HttpDate, RETRY_AFTER, TRANSFER_ENCODING,
};
use actix_web::web::Bytes;

use crate::cors::Cors;
use crate::headers::REQUEST_ID;
use crate::wire::Version;
use crate::wire::fields::put;

/// What a client should wait before it tries again when a service is away, in seconds.
const RETRY: &str = "1";

/// An answer of the gateway's own.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    fields: Vec<(HeaderName, Cow<'static, str>)>,
    body: Bytes,
}

impl Answer {
    pub(crate) fn new(status: StatusCode) -> Self {
        Self { status, fields: Vec::new(), body: Bytes::new() }
    }

    pub(crate) fn json(status: StatusCode, body: impl Into<Bytes>) -> Self {
        let answer = Self::new(status)
            .with(CONTENT_TYPE, "application/json; charset=utf-8")
            .with(CACHE_CONTROL, "no-store")
            .body(body);
        if status == StatusCode::SERVICE_UNAVAILABLE { answer.with(RETRY_AFTER, RETRY) } else { answer }
    }

    pub(crate) fn with(mut self, name: HeaderName, value: impl Into<Cow<'static, str>>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Writes all of it; to HEAD, all but the body.
    pub(crate) fn write(&self, to_head: bool, manner: &Manner<'_>, out: &mut Vec<u8>) {
        manner.begin(self.status, out);
        for (name, value) in &self.fields {
            put(out, name.as_str(), value.as_bytes());
        }
        let bodiless = self.status == StatusCode::NO_CONTENT;
        manner.end(if bodiless { Length::None } else { Length::Told(self.body.len() as u64) }, false, out);
        if !to_head {
            out.extend_from_slice(&self.body);
        }
    }
}

/// How the end of an answer's body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    /// There is no body, and no word about one.
    None,
    /// By its length.
    Told(u64),
    /// By the last chunk.
    Chunked,
    /// By the end of the connection.
    Closed,
}

/// What the gateway says with every answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner<'a> {
    /// The client's.
    pub(crate) version: Version,
    /// Whether the client may send further requests on this connection.
    pub(crate) keeps: bool,
    pub(crate) request_id: &'a str,
    /// Where a route leads, pages of other origins are told what they may.
    pub(crate) cors: Option<(&'a Cors, Option<&'a [u8]>)>,
}

impl Manner<'_> {
    /// Writes the status line.
    pub(crate) fn begin(&self, status: StatusCode, out: &mut Vec<u8>) {
        out.extend_from_slice(match self.version {
            Version::Http10 => b"HTTP/1.0 ",
            Version::Http11 => b"HTTP/1.1 ",
        });
        out.extend_from_slice(status.as_str().as_bytes());
        out.push(b' ');
        out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
        out.extend_from_slice(b"\r\n");
    }

    /// Writes what ends a head; `dated`: it has its date.
    pub(crate) fn end(&self, length: Length, dated: bool, out: &mut Vec<u8>) {
        match length {
            Length::None | Length::Closed => {}
            // Writing to memory does not fail.
            Length::Told(length) => drop(write!(out, "content-length: {length}\r\n")),
            Length::Chunked => put(out, TRANSFER_ENCODING.as_str(), b"chunked"),
        }
        if !dated {
            put(out, DATE.as_str(), now().to_string().as_bytes());
        }
        put(out, REQUEST_ID.as_str(), self.request_id.as_bytes());
        if let Some((cors, origin)) = self.cors {
            cors.mark(origin, out);
        }
        match (self.keeps, self.version) {
            (true, Version::Http11) => {}
            (true, Version::Http10) => put(out, CONNECTION.as_str(), b"keep-alive"),
            (false, _) => put(out, CONNECTION.as_str(), b"close"),
        }
        out.extend_from_slice(b"\r\n");
    }
}

#[expect(clippy::disallowed_methods, reason = "`Date` is the machine's time (RFC 9110, section 6.6.1)")]
fn now() -> HttpDate {
    SystemTime::now().into()
}
