//! Which headers cross the gateway, and what it says about the client.

use std::net::IpAddr;

use actix_web::HttpRequest;
use actix_web::http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, TE, TRAILER, TRANSFER_ENCODING,
    UPGRADE,
};
use stele_core::event::RequestId;
use stele_core::random::PooledRandom;
use stele_web::trust::{HOP_HEADER, Trust};

pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// More than any browser sends, and below the 96 at which the HTTP parser itself gives up, with no dialect to say so in.
const MOST_HEADERS: usize = 64;
/// Names, values, separators and the request target.
const MOST_BYTES: usize = 16 * 1024;

/// Who is calling, as far as the gateway believes it.
#[derive(Debug)]
pub(crate) struct Caller {
    client: IpAddr,
    trusted: bool,
    pub(crate) request_id: RequestId,
    /// The same, as a header.
    pub(crate) id_header: HeaderValue,
}

impl Caller {
    pub(crate) fn of(request: &HttpRequest, trust: &Trust) -> Self {
        let peer = request.peer_addr().map_or(IpAddr::from([0; 4]), |socket| socket.ip());
        let headers = request.headers();
        let trusted = trust.believes(peer, headers);
        let shown = headers.get(REQUEST_ID).filter(|_| trusted).and_then(|id| RequestId::parse(id.to_str().ok()?));
        let request_id = shown.unwrap_or_else(|| RequestId::random(&PooledRandom));
        // It is always a header's text; the fallback is there for the type.
        let id_header = HeaderValue::from_str(request_id.as_str()).unwrap_or(HeaderValue::from_static("-"));
        Self { client: trust.client(peer, headers), trusted, request_id, id_header }
    }
}

/// Whether the head of a request is larger than any client's of ours.
pub(crate) fn too_large(request: &HttpRequest) -> bool {
    let headers = request.headers();
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    headers.len() > MOST_HEADERS || bytes + target > MOST_BYTES
}

/// Whether `Host` is what RFC 9110, section 7.2, wants it to be: a name or an address, and perhaps a port.
pub(crate) fn names_a_host(request: &HttpRequest) -> bool {
    request.headers().get(HOST).is_none_or(|host| {
        let known = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~:[]".contains(byte);
        !host.is_empty() && host.as_bytes().iter().all(known)
    })
}

/// The headers that the service called `service` gets.
pub(crate) fn for_service(
    request: &HttpRequest,
    caller: &Caller,
    service: &HeaderValue,
    hop: Option<&HeaderValue>,
) -> HeaderMap {
    let theirs = request.headers();
    let named = Named::by(theirs);
    let mut ours = HeaderMap::with_capacity(theirs.len() + 6);
    for (name, value) in theirs {
        if !is_hop_by_hop(name) && !named.has(name) && !is_rewritten(name) && !is_alias(name) {
            ours.append(name.clone(), value.clone());
        }
    }
    // The service's name: the URI has the address of one of its instances.
    ours.insert(HOST, service.clone());
    // One address: the chain before it is resolved here, where the proxies are known.
    if let Ok(client) = HeaderValue::from_str(&caller.client.to_string()) {
        ours.insert(FORWARDED_FOR, client);
    }
    ours.insert(FORWARDED_PROTO, proto(theirs, caller));
    if let Some(host) = host(request, caller) {
        ours.insert(FORWARDED_HOST, host);
    }
    ours.insert(REQUEST_ID, caller.id_header.clone());
    if let Some(secret) = hop {
        ours.insert(HeaderName::from_static(HOP_HEADER), secret.clone());
    }
    ours
}

/// Copies a service's headers into the client's answer.
pub(crate) fn for_client(theirs: &HeaderMap, ours: &mut HeaderMap) {
    let named = Named::by(theirs);
    for (name, value) in theirs {
        if !is_hop_by_hop(name)
            && !named.has(name)
            && *name != CONTENT_LENGTH
            && !name.as_str().starts_with("access-control-")
        {
            ours.append(name.clone(), value.clone());
        }
    }
}

/// Headers that end at this connection, RFC 9110 7.6.1. The others are those that `Connection` names.
fn is_hop_by_hop(name: &HeaderName) -> bool {
    let known = [CONNECTION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE].contains(name);
    known || name.as_str() == "keep-alive" || name.as_str().starts_with("proxy-")
}

/// Headers that the gateway answers for itself, so that nobody else can.
fn is_rewritten(name: &HeaderName) -> bool {
    // The 100 was sent by this server, the length is told by the body.
    let framing = [HOST, CONTENT_LENGTH, EXPECT].contains(name);
    let name = name.as_str();
    framing
        || name.starts_with("x-forwarded-")
        || matches!(name, "forwarded" | "x-real-ip" | "x-request-id" | HOP_HEADER)
}

/// `X_Forwarded_For` and `X-Forwarded-For` are one to many a framework.
fn is_alias(name: &HeaderName) -> bool {
    name.as_str().contains('_')
}

fn proto(theirs: &HeaderMap, caller: &Caller) -> HeaderValue {
    let https = caller.trusted && theirs.get(FORWARDED_PROTO).is_some_and(|value| value == "https");
    HeaderValue::from_static(if https { "https" } else { "http" })
}

fn host(request: &HttpRequest, caller: &Caller) -> Option<HeaderValue> {
    let theirs = request.headers();
    let told = theirs.get(FORWARDED_HOST).filter(|_| caller.trusted);
    told.or_else(|| theirs.get(HOST)).cloned()
}

/// The headers that `Connection` names.
struct Named<'a>(Vec<&'a str>);

impl<'a> Named<'a> {
    fn by(headers: &'a HeaderMap) -> Self {
        let values = headers.get_all(CONNECTION).filter_map(|value| value.to_str().ok());
        Self(values.flat_map(|value| value.split(',')).map(str::trim).collect())
    }

    fn has(&self, name: &HeaderName) -> bool {
        self.0.iter().any(|named| named.eq_ignore_ascii_case(name.as_str()))
    }
}
