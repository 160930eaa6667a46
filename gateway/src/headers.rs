//! Which headers cross the gateway, and what it says about the client.

use std::io::Write as _;
use std::net::IpAddr;

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use stele_service::headers::Headers as _;
use stele_service::request::RequestId;
use stele_service::trace;
use stele_service::trust::{HOP_HEADER, Trust};
use tracing::Span;

use crate::wire::fields::{Fields, Kind, put};
use crate::wire::request::{Framing, Request};
use crate::wire::response::Response;

pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const FORWARDED_PROTO: &str = "x-forwarded-proto";
const FORWARDED_HOST: &str = "x-forwarded-host";

/// More than any browser sends, and below the 96 that are read at all, with no dialect to refuse more in.
const MOST_HEADERS: usize = 64;
/// Names, values, separators and the request target.
const MOST_BYTES: usize = 16 * 1024;

/// Who is calling, as far as the gateway believes it.
#[derive(Debug)]
pub(crate) struct Caller {
    pub(crate) client: IpAddr,
    trusted: bool,
    pub(crate) request_id: RequestId,
}

impl Caller {
    pub(crate) fn of(peer: IpAddr, fields: &Fields<'_>, trust: &Trust) -> Self {
        let trusted = trust.believes(peer, fields);
        let shown = fields.of_kind(Kind::RequestId).next().filter(|_| trusted);
        let shown = shown.and_then(|id| RequestId::parse(std::str::from_utf8(id).ok()?));
        let request_id = shown.unwrap_or_else(RequestId::random);
        Self { client: trust.client(peer, fields), trusted, request_id }
    }
}

/// Whether the head of a request is larger than any client's of ours.
pub(crate) fn too_large(request: &Request<'_>) -> bool {
    let bytes: usize = request.fields.iter().map(|field| field.name.len() + field.value.len() + 4).sum();
    request.fields.count() > MOST_HEADERS || bytes + request.target().len() > MOST_BYTES
}

/// Whether `Host` is what RFC 9110, section 7.2, wants it to be: a name or an address, and perhaps a port.
pub(crate) fn names_a_host(request: &Request<'_>) -> bool {
    request.fields.of_kind(Kind::Host).all(|host| {
        let known = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~:[]".contains(byte);
        !host.is_empty() && host.iter().all(known)
    })
}

/// What the service is told beside what the client says.
pub(crate) struct ForService<'a> {
    pub(crate) caller: &'a Caller,
    /// The name of the service: the connection leads to one of its instances.
    pub(crate) host: &'a HeaderValue,
    /// What proves the gateway to the services of the same process.
    pub(crate) hop: Option<&'a HeaderValue>,
    /// What the service's answer is waited for in, if somebody collects spans.
    pub(crate) span: &'a Span,
}

/// Writes the head that the service gets.
pub(crate) fn for_service(request: &Request<'_>, told: &ForService<'_>, out: &mut Vec<u8>) {
    let theirs = &request.fields;
    for part in [request.method.as_str(), " ", request.target(), " HTTP/1.1\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    put(out, "host", told.host.as_bytes());
    let named = theirs.are_named();
    for field in theirs.iter() {
        let crosses = match field.kind {
            Kind::End | Kind::Cors | Kind::Date => true,
            // In place of it, the span here is told, if there is one.
            Kind::Trace => told.span.is_none(),
            Kind::Host | Kind::Length | Kind::Encoding | Kind::Connection | Kind::Expect | Kind::Upgrade => false,
            Kind::Hop | Kind::Caller | Kind::RequestId => false,
        };
        if crosses && !is_alias(field.name) && !named(field.name) {
            put(out, field.name, field.value);
        }
    }
    // One address: the chain before it is resolved here, where the proxies are known. Writing to memory does not fail.
    let _ = write!(out, "x-forwarded-for: {}\r\n", told.caller.client);
    put(out, FORWARDED_PROTO, proto(theirs, told.caller));
    if let Some(host) = host(theirs, told.caller) {
        put(out, FORWARDED_HOST, host);
    }
    put(out, REQUEST_ID.as_str(), told.caller.request_id.as_str().as_bytes());
    if let Some(secret) = told.hop {
        put(out, HOP_HEADER, secret.as_bytes());
    }
    if !told.span.is_none() {
        let mut parents = HeaderMap::new();
        trace::pass_on(told.span, &mut parents);
        parents.iter().for_each(|(name, value)| put(out, name.as_str(), value.as_bytes()));
    }
    let _ = match request.framing {
        Framing::None => Ok(()),
        Framing::Sized(length) => write!(out, "content-length: {length}\r\n"),
        Framing::Chunked => write!(out, "transfer-encoding: chunked\r\n"),
    };
    out.extend_from_slice(b"\r\n");
}

/// Writes a service's headers into the client's answer; whether the date is among them.
pub(crate) fn for_client(response: &Response<'_>, out: &mut Vec<u8>) -> bool {
    let (named, mut dated) = (response.fields.are_named(), false);
    for field in response.fields.iter() {
        let crosses = match field.kind {
            Kind::End | Kind::Host | Kind::Caller | Kind::Trace | Kind::Expect => true,
            Kind::Date => !dated,
            Kind::Length | Kind::Encoding | Kind::Connection | Kind::Upgrade | Kind::Hop => false,
            Kind::RequestId | Kind::Cors => false,
        };
        if crosses && !named(field.name) {
            put(out, field.name, field.value);
            dated |= field.kind == Kind::Date;
        }
    }
    dated
}

/// `X_Forwarded_For` and `X-Forwarded-For` are one to many a framework.
fn is_alias(name: &str) -> bool {
    name.contains('_')
}

fn proto(theirs: &Fields<'_>, caller: &Caller) -> &'static [u8] {
    let https = caller.trusted && theirs.first(FORWARDED_PROTO) == Some(b"https");
    if https { b"https" } else { b"http" }
}

fn host<'a>(theirs: &'a Fields<'_>, caller: &Caller) -> Option<&'a [u8]> {
    let told = theirs.first(FORWARDED_HOST).filter(|_| caller.trusted);
    told.or_else(|| theirs.of_kind(Kind::Host).next())
}
