//! Which headers cross the gateway, and what it says about the client.

use std::net::IpAddr;

use hyper::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, DATE, EXPECT, HOST, HeaderName,
    HeaderValue, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, USER_AGENT,
};
use hyper::{HeaderMap, Version};
use stele_service::headers::HeaderLookup;
use stele_service::request_context::RequestId;
use stele_service::trace;
use stele_service::trusted_proxies::{HOP_SECRET_HEADER, TrustedProxies};
use tracing::Span;

use crate::client_connection::Scheme;
use crate::request_head::RequestLine;

pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// More than any browser sends, and below the 100 that are read at all, with no dialect to refuse more in.
const MAX_HEADERS: usize = 64;
/// Names, values, separators and the request target.
const MAX_HEADER_BYTES: usize = 16 * 1024;

/// The headers of a message, as [`stele_service`] looks at them.
pub(crate) struct HyperHeaders<'a>(pub(crate) &'a HeaderMap);

impl HeaderLookup for HyperHeaders<'_> {
    fn all_values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.0.get_all(name).iter().map(HeaderValue::as_bytes)
    }
}

/// What a header is to a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HeaderClass {
    /// End-to-end: forwarded.
    EndToEnd,
    /// Hop-by-hop, RFC 9110, section 7.6.1, or a part of the framing: each connection has its own.
    HopByHop,
    /// What the gateway says itself of a request, so that no client can: who calls, for which host, by which name.
    Forwarded,
    /// A trace's parent, by W3C's Trace Context.
    TraceContext,
    /// What pages of other origins may do: a matter of the gateway's settings.
    Cors,
    /// Asks for another method than the request line has, which is the one that is judged: some frameworks obey.
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
            "forwarded" | "x-real-ip" | HOP_SECRET_HEADER | "x-request-id" => Self::Forwarded,
            "traceparent" | "tracestate" => Self::TraceContext,
            "x-http-method-override" | "x-http-method" | "x-method-override" => Self::MethodOverride,
            _ if name.starts_with("proxy-") => Self::HopByHop,
            _ if name.starts_with("x-forwarded-") => Self::Forwarded,
            _ if name.starts_with("access-control-") => Self::Cors,
            _ => Self::EndToEnd,
        }
    }
}

/// Who is calling, as far as the gateway believes it.
#[derive(Debug)]
pub(crate) struct ClientIdentity {
    pub(crate) address: IpAddr,
    is_trusted_proxy: bool,
    pub(crate) request_id: RequestId,
}

impl ClientIdentity {
    pub(crate) fn resolve(peer: IpAddr, headers: &HeaderMap, trust: &TrustedProxies) -> Self {
        let fields = HyperHeaders(headers);
        let trusted = trust.trusts(peer, &fields);
        let shown = headers.get(REQUEST_ID).filter(|_| trusted);
        let shown = shown.and_then(|id| RequestId::parse(id.to_str().ok()?));
        let request_id = shown.unwrap_or_else(RequestId::generate);
        Self { address: trust.client_address(peer, &fields), is_trusted_proxy: trusted, request_id }
    }

    /// The request's id, as a header has it.
    pub(crate) fn request_id_value(&self) -> HeaderValue {
        // It is of letters, digits and `.`, `_`, `-`.
        HeaderValue::from_str(self.request_id.as_str()).unwrap_or(HeaderValue::from_static(""))
    }
}

/// Whether the head of a request is larger than any client's of ours.
pub(crate) fn is_head_too_large(line: &RequestLine, headers: &HeaderMap) -> bool {
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    headers.len() > MAX_HEADERS || bytes + line.target().len() > MAX_HEADER_BYTES
}

/// Whether a header lists `token`, in any letter case.
pub(crate) fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    tokens(headers, name).any(|one| one.eq_ignore_ascii_case(token.as_bytes()))
}

fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    let values = headers.get_all(name).into_iter().map(HeaderValue::as_bytes);
    values.flat_map(|value| value.split(|&byte| byte == b',')).map(<[u8]>::trim_ascii)
}

/// What the gateway adds to what the client says.
pub(crate) struct AddedHeaders<'a> {
    pub(crate) client: &'a ClientIdentity,
    /// How the client's connection is.
    pub(crate) scheme: Scheme,
    /// The name of the service: the connection leads to one of its instances.
    pub(crate) host: &'a HeaderValue,
    /// What proves the gateway to the services of the same process.
    pub(crate) hop_secret: Option<&'a HeaderValue>,
}

/// Makes the headers of a client's request those that the service gets.
pub(crate) fn rewrite_request_headers(line: &RequestLine, headers: &mut HeaderMap, added: &AddedHeaders<'_>) {
    let proto = forwarded_proto(headers, added);
    let host = forwarded_host(line, headers, added.client);
    join_cookies(line, headers);
    remove_unforwarded(headers, |name| match HeaderClass::of(name) {
        // `X_Forwarded_For` and `X-Forwarded-For` are one to many a framework.
        HeaderClass::EndToEnd => name.as_str().contains('_'),
        HeaderClass::Cors => false,
        // Where spans are collected, the one here is the parent: see `set_parent`.
        HeaderClass::TraceContext => trace::is_enabled(),
        HeaderClass::HopByHop | HeaderClass::Forwarded | HeaderClass::MethodOverride => true,
    });
    headers.insert(HOST, added.host.clone());
    // One address: the chain before it is resolved here, where the proxies are known.
    if let Ok(client) = HeaderValue::try_from(added.client.address.to_string()) {
        headers.insert(FORWARDED_FOR, client);
    }
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static(proto.as_str()));
    if let Some(host) = host {
        headers.insert(FORWARDED_HOST, host);
    }
    headers.insert(REQUEST_ID, added.client.request_id_value());
    if let Some(secret) = added.hop_secret {
        headers.insert(HeaderName::from_static(HOP_SECRET_HEADER), secret.clone());
    }
}

/// Makes `span` the parent of the service's span.
pub(crate) fn set_trace_parent(span: &Span, headers: &mut HeaderMap) {
    trace::inject_context(span, |name, value| {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.insert(name, value);
        }
    });
}

/// Makes the headers of a service's answer those that the client gets. Those that frame it are hyper's to write; to HEAD
/// the length is that of the answer to GET.
pub(crate) fn rewrite_response_headers(headers: &mut HeaderMap, is_head: bool) {
    let length = headers.get(CONTENT_LENGTH).filter(|_| is_head).cloned();
    let mut dates = headers.get_all(DATE).into_iter();
    if let (Some(date), Some(_)) = (dates.next().cloned(), dates.next()) {
        headers.insert(DATE, date);
    }
    remove_unforwarded(headers, |name| match HeaderClass::of(name) {
        HeaderClass::EndToEnd | HeaderClass::TraceContext | HeaderClass::MethodOverride => false,
        HeaderClass::Forwarded => *name == REQUEST_ID,
        HeaderClass::HopByHop => *name != HOST && *name != EXPECT,
        HeaderClass::Cors => true,
    });
    if let Some(length) = length {
        headers.insert(CONTENT_LENGTH, length);
    }
}

/// Removes the headers that do not cross, and those that `Connection` names.
fn remove_unforwarded(headers: &mut HeaderMap, stays_here: impl Fn(&HeaderName) -> bool) {
    let ordinary: [&[u8]; 3] = [b"keep-alive", b"close", b"upgrade"];
    let is_ordinary = |option: &&[u8]| ordinary.iter().any(|known| option.eq_ignore_ascii_case(known));
    let named = tokens(headers, &CONNECTION).filter(|option| !is_ordinary(option));
    let named = named.filter_map(|option| HeaderName::from_bytes(option).ok());
    let removed: Vec<HeaderName> = headers.keys().filter(|name| stays_here(name)).cloned().chain(named).collect();
    for name in removed {
        headers.remove(name);
    }
}

/// RFC 9113, section 8.2.3: HTTP/2 may send cookies in several fields, and HTTP/1.1 has one.
fn join_cookies(line: &RequestLine, headers: &mut HeaderMap) {
    if line.version == Version::HTTP_2 && headers.get_all(COOKIE).iter().count() > 1 {
        let all: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
        if let Ok(joined) = HeaderValue::from_bytes(&all.join(b"; ".as_slice())) {
            headers.insert(COOKIE, joined);
        }
    }
}

fn forwarded_proto(headers: &HeaderMap, added: &AddedHeaders<'_>) -> Scheme {
    let shown = headers.get(FORWARDED_PROTO).filter(|_| added.client.is_trusted_proxy);
    if shown.is_some_and(|proto| proto == "https") { Scheme::Https } else { added.scheme }
}

fn forwarded_host(line: &RequestLine, headers: &HeaderMap, caller: &ClientIdentity) -> Option<HeaderValue> {
    let shown = headers.get(FORWARDED_HOST).filter(|_| caller.is_trusted_proxy).or_else(|| headers.get(HOST)).cloned();
    let authority = || HeaderValue::from_str(line.uri.authority()?.as_str()).ok();
    shown.or_else(|| authority().filter(|_| line.version == Version::HTTP_2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_classified_by_how_a_proxy_treats_them() {
        for (name, kind) in [
            ("host", HeaderClass::HopByHop),
            ("content-length", HeaderClass::HopByHop),
            ("transfer-encoding", HeaderClass::HopByHop),
            ("connection", HeaderClass::HopByHop),
            ("te", HeaderClass::HopByHop),
            ("keep-alive", HeaderClass::HopByHop),
            ("proxy-authorization", HeaderClass::HopByHop),
            ("proxy-anything-of-any-length-at-all", HeaderClass::HopByHop),
            ("x-forwarded-for", HeaderClass::Forwarded),
            ("x-forwarded-anything-of-any-length", HeaderClass::Forwarded),
            ("x-stele-hop", HeaderClass::Forwarded),
            ("x-request-id", HeaderClass::Forwarded),
            ("access-control-allow-credentials", HeaderClass::Cors),
            ("traceparent", HeaderClass::TraceContext),
            ("x-http-method-override", HeaderClass::MethodOverride),
            ("content-lengths", HeaderClass::EndToEnd),
            ("xforwarded-for", HeaderClass::EndToEnd),
            ("authorization", HeaderClass::EndToEnd),
            ("a", HeaderClass::EndToEnd),
        ] {
            assert_eq!(HeaderClass::of(&HeaderName::from_static(name)), kind, "{name}");
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
        remove_unforwarded(&mut headers, |name| *name == CONNECTION);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["x-other", "y"]);
    }

    #[test]
    fn http2_cookie_fields_are_joined() {
        let line = |version| {
            let (parts, ()) = hyper::Request::builder().version(version).body(()).unwrap().into_parts();
            RequestLine { method: parts.method, uri: parts.uri, version: parts.version }
        };
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, HeaderValue::from_static("a=1"));
        headers.append(COOKIE, HeaderValue::from_static("b=2"));
        join_cookies(&line(Version::HTTP_11), &mut headers);
        assert_eq!(headers.get_all(COOKIE).iter().count(), 2);
        join_cookies(&line(Version::HTTP_2), &mut headers);
        assert_eq!(headers.get_all(COOKIE).iter().collect::<Vec<_>>(), ["a=1; b=2"]);
    }
}
