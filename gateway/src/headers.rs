//! Header rewriting of the reverse proxy: removes hop-by-hop fields (RFC 9110 §7.6.1) and sets the forwarding fields
//! (`X-Forwarded-*`, `X-Request-Id`). Received forwarding fields are used only if the peer is a trusted proxy.

use std::net::IpAddr;

use hyper::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, DATE, EXPECT, HOST, HeaderName,
    HeaderValue, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, USER_AGENT,
};
use hyper::{HeaderMap, Method, Version};
use stele_service::headers::HeaderLookup;
use stele_service::request_context::RequestId;
use stele_service::trace;
use stele_service::trusted_proxies::{GATEWAY_SECRET_HEADER, TrustedProxies};
use tracing::Span;

use crate::client_connection::Scheme;
use crate::request_head::RequestLine;
use crate::routing_table::PrefixAccess;

pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Maximum number of header fields; browsers send fewer. A request with more, but at most hyper's limit of 100, is
/// rejected by the gateway's own check.
const MAX_HEADERS: usize = 64;
/// Maximum size of field names, values, separators and the request target together, in bytes.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// Adapts hyper's header map to the lookup trait of [`stele_service`].
pub(crate) struct HyperHeaders<'a>(pub(crate) &'a HeaderMap);

impl HeaderLookup for HyperHeaders<'_> {
    fn all_values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.0.get_all(name).iter().map(HeaderValue::as_bytes)
    }
}

/// How the gateway treats a header field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HeaderClass {
    /// End-to-end: forwarded.
    EndToEnd,
    /// Hop-by-hop (RFC 9110 §7.6.1), part of the message framing, `Host` or `Expect`: removed, because each connection
    /// has its own.
    HopByHop,
    /// Asserted by proxies: removed, so that a client cannot spoof it. The gateway then sets its own client address,
    /// host, scheme, request id and secret.
    ProxyMetadata,
    /// The parent span of the request (W3C Trace Context): replaced if tracing is enabled.
    TraceContext,
    /// CORS response headers: removed from responses of services, because the gateway sets them by its settings.
    Cors,
    /// Overrides the method of the request line, which is the one validated: removed, because some frameworks obey it.
    MethodOverride,
}

impl HeaderClass {
    fn of(name: &HeaderName) -> Self {
        match *name {
            ACCEPT_ENCODING | AUTHORIZATION | CONTENT_TYPE | COOKIE | DATE | USER_AGENT => Self::EndToEnd,
            CONNECTION | CONTENT_LENGTH | EXPECT | HOST | TE | TRAILER | TRANSFER_ENCODING | UPGRADE => Self::HopByHop,
            _ => Self::of_name(name.as_str()),
        }
    }

    fn of_name(name: &str) -> Self {
        match name {
            "keep-alive" | "close" => Self::HopByHop,
            "forwarded" | "x-real-ip" | GATEWAY_SECRET_HEADER | "x-request-id" => Self::ProxyMetadata,
            "traceparent" | "tracestate" => Self::TraceContext,
            "x-http-method-override" | "x-http-method" | "x-method-override" => Self::MethodOverride,
            _ if name.starts_with("proxy-") => Self::HopByHop,
            _ if name.starts_with("x-forwarded-") => Self::ProxyMetadata,
            _ if name.starts_with("access-control-") => Self::Cors,
            _ => Self::EndToEnd,
        }
    }
}

/// The client of a request: its address and request id, from the peer or from a trusted proxy.
#[derive(Debug)]
pub(crate) struct ClientIdentity {
    pub(crate) address: IpAddr,
    is_peer_trusted: bool,
    is_peer_loopback: bool,
    pub(crate) request_id: RequestId,
}

impl ClientIdentity {
    /// The client of a request from `peer`. `X-Forwarded-For` and `X-Request-Id` are used only if `peer` is a trusted
    /// proxy.
    pub(crate) fn resolve(peer: IpAddr, headers: &HeaderMap, trusted_proxies: &TrustedProxies) -> Self {
        let fields = HyperHeaders(headers);
        let is_peer_trusted = trusted_proxies.trusts(peer, &fields);
        let received_id = headers.get(REQUEST_ID).filter(|_| is_peer_trusted);
        let received_id = received_id.and_then(|id| RequestId::parse(id.to_str().ok()?));
        let request_id = received_id.unwrap_or_else(RequestId::generate);
        let address = trusted_proxies.client_address(peer, &fields);
        Self { address, is_peer_trusted, is_peer_loopback: peer.to_canonical().is_loopback(), request_id }
    }

    /// Whether the peer may send requests below a prefix with this access.
    pub(crate) fn may_use(&self, access: PrefixAccess) -> bool {
        access == PrefixAccess::Public || self.is_peer_trusted || self.is_peer_loopback
    }

    /// The request id as a header value.
    pub(crate) fn request_id_value(&self) -> HeaderValue {
        // Cannot fail: an id has only letters, digits, `.`, `_` and `-`.
        HeaderValue::from_str(self.request_id.as_str()).unwrap_or(HeaderValue::from_static(""))
    }
}

/// Whether the head exceeds [`MAX_HEADERS`] or [`MAX_HEAD_BYTES`].
pub(crate) fn is_head_too_large(line: &RequestLine, headers: &HeaderMap) -> bool {
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    headers.len() > MAX_HEADERS || bytes + line.target().len() > MAX_HEAD_BYTES
}

/// Whether a comma-separated header field lists `token`, ignoring case.
pub(crate) fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    tokens(headers, name).any(|item| item.eq_ignore_ascii_case(token.as_bytes()))
}

fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    let values = headers.get_all(name).into_iter().map(HeaderValue::as_bytes);
    values.flat_map(|value| value.split(|&byte| byte == b',')).map(<[u8]>::trim_ascii)
}

/// What the gateway adds to the header fields of a request.
pub(crate) struct AddedHeaders<'a> {
    pub(crate) client: &'a ClientIdentity,
    /// Who may send such a request: a reverse proxy's description of another request is not rewritten.
    pub(crate) access: PrefixAccess,
    /// Scheme of the client's connection.
    pub(crate) scheme: Scheme,
    /// `Host` for the upstream: `host:port` as configured.
    pub(crate) host: &'a HeaderValue,
    /// Secret header value by which the gateway authenticates itself to services in the same process.
    pub(crate) gateway_secret: Option<&'a HeaderValue>,
}

/// The fields in which a reverse proxy describes the request that it asks about, besides `X-Original-URL`, which every
/// service gets.
const DESCRIPTION_FIELDS: [&str; 4] = ["host", "x-forwarded-host", "x-forwarded-uri", "x-forwarded-method"];

/// Turns the header fields of the client's request into those of the upstream request.
pub(crate) fn rewrite_request_headers(line: &RequestLine, headers: &mut HeaderMap, added: &AddedHeaders<'_>) {
    let proto = forwarded_proto(headers, added);
    let host = forwarded_host(line, headers, added.client);
    let is_description =
        |name: &HeaderName| added.access == PrefixAccess::Proxies && DESCRIPTION_FIELDS.contains(&name.as_str());
    join_cookies(line, headers);
    remove_fields(headers, |name| match HeaderClass::of(name) {
        _ if is_description(name) => false,
        // CGI and WSGI frameworks do not distinguish `X_Forwarded_For` from `X-Forwarded-For`.
        HeaderClass::EndToEnd => name.as_str().contains('_'),
        HeaderClass::Cors => false,
        // With tracing enabled, the gateway's span becomes the parent: `set_trace_parent`.
        HeaderClass::TraceContext => trace::is_enabled(),
        HeaderClass::HopByHop | HeaderClass::ProxyMetadata | HeaderClass::MethodOverride => true,
    });
    let described_host = received_host(line, headers).filter(|_| added.access == PrefixAccess::Proxies);
    headers.insert(HOST, described_host.unwrap_or_else(|| added.host.clone()));
    // One address: the gateway knows the trusted proxies, so it resolves the chain.
    if let Ok(client) = HeaderValue::try_from(added.client.address.to_string()) {
        headers.insert(FORWARDED_FOR, client);
    }
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static(proto.as_str()));
    if let Some(host) = host.filter(|_| added.access == PrefixAccess::Public) {
        headers.insert(FORWARDED_HOST, host);
    }
    headers.insert(REQUEST_ID, added.client.request_id_value());
    if let Some(secret) = added.gateway_secret {
        headers.insert(HeaderName::from_static(GATEWAY_SECRET_HEADER), secret.clone());
    }
}

/// Sets the trace context fields so that `span` is the parent of the service's span.
pub(crate) fn set_trace_parent(span: &Span, headers: &mut HeaderMap) {
    trace::inject_context(span, |name, value| {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.insert(name, value);
        }
    });
}

/// Turns the header fields of an upstream response into those of the response to the client. hyper writes the framing
/// fields. Only the response to HEAD keeps the service's `Content-Length`: it is the length of the response to GET
/// (RFC 9110 §8.6). Of several `Date` fields, the first is kept.
pub(crate) fn rewrite_response_headers(headers: &mut HeaderMap, request_method: &Method) {
    let length = headers.get(CONTENT_LENGTH).filter(|_| *request_method == Method::HEAD).cloned();
    let mut dates = headers.get_all(DATE).into_iter();
    if let (Some(date), Some(_)) = (dates.next().cloned(), dates.next()) {
        headers.insert(DATE, date);
    }
    remove_fields(headers, |name| match HeaderClass::of(name) {
        HeaderClass::EndToEnd | HeaderClass::TraceContext | HeaderClass::MethodOverride => false,
        HeaderClass::ProxyMetadata => *name == REQUEST_ID,
        // `Host` and `Expect` have no meaning in a response.
        HeaderClass::HopByHop => *name != HOST && *name != EXPECT,
        HeaderClass::Cors => true,
    });
    if let Some(length) = length {
        headers.insert(CONTENT_LENGTH, length);
    }
}

/// Removes the fields that `is_removed` selects, and the fields that `Connection` lists (RFC 9110 §7.6.1).
fn remove_fields(headers: &mut HeaderMap, is_removed: impl Fn(&HeaderName) -> bool) {
    let standard_options: [&[u8]; 3] = [b"keep-alive", b"close", b"upgrade"];
    let is_standard = |option: &&[u8]| standard_options.iter().any(|known| option.eq_ignore_ascii_case(known));
    let listed = tokens(headers, &CONNECTION).filter(|option| !is_standard(option));
    let listed = listed.filter_map(|option| HeaderName::from_bytes(option).ok());
    let removed: Vec<HeaderName> = headers.keys().filter(|name| is_removed(name)).cloned().chain(listed).collect();
    for name in removed {
        headers.remove(name);
    }
}

/// Joins the `Cookie` fields of an HTTP/2 request, which may be several (RFC 9113 §8.2.3), into the single field that
/// HTTP/1.1 allows.
fn join_cookies(line: &RequestLine, headers: &mut HeaderMap) {
    if line.version == Version::HTTP_2 && headers.get_all(COOKIE).iter().count() > 1 {
        let all: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
        if let Ok(joined) = HeaderValue::from_bytes(&all.join(b"; ".as_slice())) {
            headers.insert(COOKIE, joined);
        }
    }
}

fn forwarded_proto(headers: &HeaderMap, added: &AddedHeaders<'_>) -> Scheme {
    let received = headers.get(FORWARDED_PROTO).filter(|_| added.client.is_peer_trusted);
    if received.is_some_and(|proto| proto == "https") { Scheme::Https } else { added.scheme }
}

fn forwarded_host(line: &RequestLine, headers: &HeaderMap, client: &ClientIdentity) -> Option<HeaderValue> {
    let received = headers.get(FORWARDED_HOST).filter(|_| client.is_peer_trusted);
    received.cloned().or_else(|| received_host(line, headers))
}

/// The host that the request names.
fn received_host(line: &RequestLine, headers: &HeaderMap) -> Option<HeaderValue> {
    let authority = || HeaderValue::from_str(line.uri.authority()?.as_str()).ok();
    headers.get(HOST).cloned().or_else(|| authority().filter(|_| line.version == Version::HTTP_2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_of_proxies_are_for_peers_on_loopback_and_trusted_proxies() {
        let settings = stele_service::Settings::default();
        let trusted_proxies = settings.with_values([("STELE_TRUSTED_PROXIES", "10.0.0.0/8".to_owned())]);
        let trusted_proxies = trusted_proxies.get(&stele_service::trusted_proxies::TRUSTED_PROXIES).unwrap();
        let mut headers = HeaderMap::new();
        // Where the client is does not count, nor what it says about itself.
        headers.insert(FORWARDED_FOR, HeaderValue::from_static("127.0.0.1"));
        for (peer, is_allowed) in [
            ("127.0.0.1", true),
            ("127.9.9.9", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("10.1.2.3", true),
            ("192.0.2.1", false),
            ("192.168.0.1", false),
            ("fe80::1", false),
        ] {
            let client = ClientIdentity::resolve(peer.parse().unwrap(), &headers, &trusted_proxies);
            assert_eq!(client.may_use(PrefixAccess::Proxies), is_allowed, "{peer}");
            assert!(client.may_use(PrefixAccess::Public));
        }
    }

    #[test]
    fn headers_are_classified_by_how_a_proxy_treats_them() {
        for (name, class) in [
            ("host", HeaderClass::HopByHop),
            ("content-length", HeaderClass::HopByHop),
            ("transfer-encoding", HeaderClass::HopByHop),
            ("connection", HeaderClass::HopByHop),
            ("te", HeaderClass::HopByHop),
            ("keep-alive", HeaderClass::HopByHop),
            ("proxy-authorization", HeaderClass::HopByHop),
            ("proxy-anything-of-any-length-at-all", HeaderClass::HopByHop),
            ("x-forwarded-for", HeaderClass::ProxyMetadata),
            ("x-forwarded-anything-of-any-length", HeaderClass::ProxyMetadata),
            ("x-stele-hop", HeaderClass::ProxyMetadata),
            ("x-request-id", HeaderClass::ProxyMetadata),
            ("access-control-allow-credentials", HeaderClass::Cors),
            ("traceparent", HeaderClass::TraceContext),
            ("x-http-method-override", HeaderClass::MethodOverride),
            ("content-lengths", HeaderClass::EndToEnd),
            ("xforwarded-for", HeaderClass::EndToEnd),
            ("authorization", HeaderClass::EndToEnd),
            ("a", HeaderClass::EndToEnd),
        ] {
            assert_eq!(HeaderClass::of(&HeaderName::from_static(name)), class, "{name}");
        }
    }

    #[test]
    fn headers_listed_in_connection_are_removed() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Secret"),
            ("connection", "token ,Upgrade"),
            ("x-secret", "1"),
            ("token", "t"),
            ("x-other", "y"),
            ("y", "z"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        remove_fields(&mut headers, |name| *name == CONNECTION);
        let mut remaining: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        remaining.sort_unstable();
        assert_eq!(remaining, ["x-other", "y"]);
    }

    #[test]
    fn cookie_fields_are_joined_only_in_http2() {
        let request_line = |version| {
            let (parts, ()) = hyper::Request::builder().version(version).body(()).unwrap().into_parts();
            RequestLine { method: parts.method, uri: parts.uri, version: parts.version }
        };
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, HeaderValue::from_static("a=1"));
        headers.append(COOKIE, HeaderValue::from_static("b=2"));
        join_cookies(&request_line(Version::HTTP_11), &mut headers);
        assert_eq!(headers.get_all(COOKIE).iter().count(), 2);
        join_cookies(&request_line(Version::HTTP_2), &mut headers);
        assert_eq!(headers.get_all(COOKIE).iter().collect::<Vec<_>>(), ["a=1; b=2"]);
    }
}
