//! Request line and validation of request heads, against request smuggling and ambiguous paths, beyond what hyper
//! checks: docs/FRAMING.md.

use std::borrow::Cow;

use hyper::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING, UPGRADE};
use hyper::http::uri::PathAndQuery;
use hyper::{HeaderMap, Method, Uri, Version};
use stele_service::path::{canonical_path, is_canonical};

use crate::error_pages::Rejection;
use crate::headers::{has_token, is_head_too_large};
use crate::routing_table::{PrefixAccess, Route, RoutingTable};

/// The request line (RFC 9112 §3), or the pseudo-header fields of HTTP/2.
#[derive(Debug)]
pub(crate) struct RequestLine {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) version: Version,
}

impl RequestLine {
    /// The line as received, but with non-ASCII bytes of the query percent-encoded, because services reject them
    /// unencoded.
    pub(crate) fn new(method: Method, uri: Uri, version: Version) -> Self {
        let mut line = Self { method, uri, version };
        if line.uri.query().is_some_and(|query| !query.is_ascii()) {
            line.uri = replace_path(&line.uri, line.path());
        }
        line
    }

    /// Finds the route, and who may send requests for it. If a route matches and the path has another, canonical form,
    /// replaces the path by that form.
    pub(crate) fn match_route<'a>(&mut self, table: &'a RoutingTable) -> Option<(&'a Route, PrefixAccess)> {
        let path = canonical_path(self.path()).filter(|path| path != self.path()).map(Cow::into_owned);
        let matched = table.match_path(path.as_deref().unwrap_or_else(|| self.path()))?;
        if let Some(path) = path {
            self.uri = replace_path(&self.uri, &path);
        }
        Some(matched)
    }

    /// Path and query; empty for the authority form (`host:port`).
    pub(crate) fn target(&self) -> &str {
        self.uri.path_and_query().map(PathAndQuery::as_str).unwrap_or_default()
    }

    /// The path, not percent-decoded.
    pub(crate) fn path(&self) -> &str {
        self.uri.path()
    }

    /// The request target for the service, in origin form (RFC 9112 §3.2.1).
    pub(crate) fn origin_form(&self) -> Uri {
        self.uri.path_and_query().cloned().map(Uri::from).unwrap_or_default()
    }

    /// Whether the bytes after this request may belong to another protocol, so that the connection must be closed. An
    /// offer of h2c alone is harmless: HTTP/2 would start only after a 101 response (RFC 9110 §7.8), and Java's
    /// `HttpClient` sends the offer on each new connection.
    pub(crate) fn may_switch_protocol(&self, headers: &HeaderMap) -> bool {
        let mut offers = headers.get_all(UPGRADE).iter();
        let is_h2c_alone = matches!((offers.next(), offers.next()), (Some(offer), None) if offer.as_bytes() == b"h2c");
        self.method == Method::CONNECT || (has_token(headers, &CONNECTION, "upgrade") && !is_h2c_alone)
    }
}

/// The path in a head that may be incomplete, as far as it was received, in canonical form if it has one.
pub(crate) fn partial_head_path(head: &[u8]) -> Option<String> {
    let mut words = head.trim_ascii_start().splitn(3, |byte| *byte == b' ');
    let target = String::from_utf8_lossy(words.by_ref().nth(1)?);
    let target = match target.split_once("://") {
        Some((scheme, after)) if !scheme.contains('/') => after.find('/').map(|at| &after[at..])?,
        _ => &target,
    };
    let path = target.split(['?', '#', '\r', '\n']).next()?;
    Some(canonical_path(path).map_or_else(|| path.to_owned(), Cow::into_owned))
}

/// Replaces the path of `uri`, and percent-encodes non-ASCII bytes of its query.
fn replace_path(uri: &Uri, path: &str) -> Uri {
    let mut target = path.to_owned();
    if let Some(query) = uri.query() {
        target.push('?');
        for byte in query.bytes() {
            match byte {
                ..0x80 => target.push(char::from(byte)),
                0x80.. => target.extend(format!("%{byte:02X}").chars()),
            }
        }
    }
    // A target that the encoding makes too long stays as it is; `is_malformed` rejects it.
    let Ok(target) = PathAndQuery::try_from(target) else { return uri.clone() };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(target);
    Uri::from_parts(parts).unwrap_or_else(|_| uri.clone())
}

/// Whether the head violates a rule that hyper does not check. Such a request is rejected before routing.
///
/// - RFC 9112 §3.2: at most one `Host`, and exactly one in HTTP/1.1
/// - RFC 9113 §8.3.1: an HTTP/2 request has `:authority` or `Host`
/// - RFC 9112 §6.1: no transfer coding but a single `chunked`
/// - RFC 9112 §3.2, RFC 3986 §3: the target is ASCII
/// - RFC 1945 §7.2.2: an HTTP/1.0 POST has a `Content-Length`
pub(crate) fn is_malformed(line: &RequestLine, headers: &HeaderMap) -> bool {
    let mut encodings = headers.get_all(TRANSFER_ENCODING).iter();
    let is_encoded = match encodings.next() {
        Some(encoding) if !encoding.as_bytes().eq_ignore_ascii_case(b"chunked") => return true,
        encoding => encoding.is_some(),
    };
    let host_count = headers.get_all(HOST).iter().count();
    let is_host_missing = match line.version {
        Version::HTTP_10 => false,
        Version::HTTP_2 => host_count == 0 && line.uri.authority().is_none(),
        _ => host_count == 0,
    };
    let is_length_missing = line.version == Version::HTTP_10
        && line.method == Method::POST
        && !is_encoded
        && !headers.contains_key(CONTENT_LENGTH);
    let is_ascii = line.target().bytes().all(|byte| byte.is_ascii_graphic());
    encodings.next().is_some() || host_count > 1 || is_host_missing || is_length_missing || !is_ascii
}

/// Validates the head of a request that has a route. `body_length` is the length that the head declares, `None` if
/// chunked; it may be at most `max_body_bytes`.
pub(crate) fn validate(
    line: &RequestLine,
    headers: &HeaderMap,
    body_length: Option<u64>,
    max_body_bytes: u64,
) -> Result<(), Rejection> {
    if !is_canonical(line.path()) {
        return Err(Rejection::NotFound);
    }
    if matches!(line.method, Method::CONNECT | Method::TRACE) {
        return Err(Rejection::MethodNotAllowed);
    }
    if is_head_too_large(line, headers) {
        return Err(Rejection::HeadersTooLarge);
    }
    if !has_valid_host(line, headers) {
        return Err(Rejection::BadRequest);
    }
    // A WebSocket client sends frames after this head, not requests.
    if has_token(headers, &UPGRADE, "websocket") {
        return Err(Rejection::BadRequest);
    }
    match body_length {
        Some(length) if length > max_body_bytes => Err(Rejection::ContentTooLarge),
        _ => Ok(()),
    }
}

/// Whether `Host`, if there is one, is a name or an address with an optional port (RFC 9110 §7.2), and in HTTP/2
/// whether `:authority` is one too and the two are equal.
pub(crate) fn has_valid_host(line: &RequestLine, headers: &HeaderMap) -> bool {
    let is_host_byte = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~:[]".contains(byte);
    let authority =
        line.uri.authority().filter(|_| line.version == Version::HTTP_2).map(|authority| authority.as_str());
    let is_authority = |host: &[u8]| authority.is_none_or(|authority| host.eq_ignore_ascii_case(authority.as_bytes()));
    let is_host = |host: &[u8]| !host.is_empty() && host.iter().all(is_host_byte);
    let mut hosts = headers.get_all(HOST).iter().map(|host| host.as_bytes());
    authority.is_none_or(|authority| is_host(authority.as_bytes()))
        && hosts.all(|host| is_host(host) && is_authority(host))
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    /// A request head. `fields` has one `name: value` per line.
    fn head(method: &str, target: &str, version: Version, fields: &str) -> (RequestLine, HeaderMap) {
        let mut request = Request::builder().method(method).uri(target).version(version);
        for line in fields.lines() {
            let (name, value) = line.split_once(": ").unwrap();
            request = request.header(name, value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        (RequestLine { method: parts.method, uri: parts.uri, version: parts.version }, parts.headers)
    }

    #[test]
    fn the_target_has_neither_authority_nor_fragment() {
        for (sent, target, path) in [
            ("/i/login?a=b?c", "/i/login?a=b?c", "/i/login"),
            ("/", "/", "/"),
            ("http://u@h/i/a?b", "/i/a?b", "/i/a"),
            ("/i/a#/../../auth/b", "/i/a", "/i/a"),
            ("/i/a?b=|c^", "/i/a?b=|c^", "/i/a"),
            ("*", "*", "*"),
            ("h:80", "", ""),
        ] {
            let (line, _) = head("GET", sent, Version::HTTP_11, "");
            assert_eq!((line.target(), line.path()), (target, path), "{sent}");
        }
    }

    #[test]
    fn a_routed_path_is_canonicalized_and_every_query_percent_encoded() {
        let table = RoutingTable::built_in().unwrap();
        for (sent, target, service) in [
            ("//i//login/?a=//b/", "/i/login?a=//b/", Some("portal")),
            ("/i/login/", "/i/login", Some("portal")),
            ("/i", "/i", Some("portal")),
            ("/API/v1//auth/Login", "/API/v1/auth/Login", Some("jwt")),
            ("http://h//auth/x", "/auth/x", Some("mefp")),
            ("/i/a?名=%E5%90%8D", "/i/a?%E5%90%8D=%E5%90%8D", Some("portal")),
            ("//docs/", "//docs/", None),
            ("/x/?é", "/x/?%C3%A9", None),
            ("/i/../auth/x", "/i/../auth/x", Some("portal")),
            ("//i/../auth/x", "//i/../auth/x", None),
        ] {
            let mut line = RequestLine::new(Method::GET, sent.parse().unwrap(), Version::HTTP_11);
            assert_eq!(line.match_route(&table).map(|(route, _)| route.service.as_str()), service, "{sent}");
            assert_eq!(line.target(), target, "{sent}");
            let authority = sent.parse::<Uri>().unwrap().into_parts().authority;
            assert_eq!(line.uri.authority(), authority.as_ref(), "{sent}");
        }
    }

    #[test]
    fn the_path_is_read_from_a_partial_head() {
        for (head, path) in [
            ("GET /i/login?a=b HTTP/1.1\r\nHost: h\r\n", Some("/i/login")),
            ("\r\nPOST //i//lo", Some("/i/lo")),
            ("GET http://h/auth/login HTTP/1.1", Some("/auth/login")),
            ("GET /i/x\r\n", Some("/i/x")),
            ("GET /i/../x", Some("/i/../x")),
            ("GET http://h", None),
            ("GET", None),
            ("", None),
        ] {
            assert_eq!(partial_head_path(head.as_bytes()).as_deref(), path, "{head:?}");
        }
        assert_eq!(partial_head_path(b"GET /i/a?\xc1\xf5 HTTP/1.1").as_deref(), Some("/i/a"));
    }

    #[test]
    fn invalid_heads_that_hyper_accepts_are_malformed() {
        const CHUNKED: &str = "host: h\ntransfer-encoding: chunked";
        for (method, version, fields, expected) in [
            ("GET", Version::HTTP_11, "host: h", false),
            ("GET", Version::HTTP_11, "", true),
            ("GET", Version::HTTP_11, "host: h\nhost: h", true),
            ("GET", Version::HTTP_10, "", false),
            ("GET", Version::HTTP_10, "host: a\nhost: b", true),
            ("POST", Version::HTTP_10, "host: h", true),
            ("POST", Version::HTTP_10, "host: h\ncontent-length: 0", false),
            ("POST", Version::HTTP_11, CHUNKED, false),
            ("POST", Version::HTTP_11, "host: h\ntransfer-encoding: gzip, chunked", true),
            ("POST", Version::HTTP_11, "host: h\ntransfer-encoding: chunked\ntransfer-encoding: chunked", true),
        ] {
            let (line, headers) = head(method, "/i/a", version, fields);
            assert_eq!(is_malformed(&line, &headers), expected, "{method} {version:?} {fields:?}");
        }
    }

    #[test]
    fn a_query_that_cannot_be_encoded_keeps_its_path_and_is_malformed() {
        let (line, headers) = head("GET", &format!("/i/a?{}", "é".repeat(12_000)), Version::HTTP_11, "host: h");
        let line = RequestLine::new(line.method, line.uri, line.version);
        assert_eq!(line.path(), "/i/a");
        assert!(is_malformed(&line, &headers));
    }

    #[test]
    fn every_upgrade_but_h2c_alone_may_switch_the_protocol() {
        for (method, fields, expected) in [
            ("GET", "connection: close", false),
            ("GET", "connection: Upgrade, HTTP2-Settings\nupgrade: h2c", false),
            ("GET", "connection: upgrade\nupgrade: h2c, websocket", true),
            ("GET", "connection: upgrade\nupgrade: h2c\nupgrade: h2c", true),
            ("GET", "connection: upgrade\nupgrade: TLS/1.2", true),
            ("GET", "connection: upgrade", true),
            ("CONNECT", "connection: upgrade\nupgrade: h2c", true),
        ] {
            let (line, headers) = head(method, "/i/a", Version::HTTP_11, fields);
            assert_eq!(line.may_switch_protocol(&headers), expected, "{method} {fields:?}");
        }
    }

    #[test]
    fn the_http2_authority_and_host_must_match() {
        for (target, fields, expect_malformed, expect_valid_host) in [
            ("https://h:1/i/a", "", false, true),
            ("https://h:1/i/a", "host: H:1", false, true),
            ("https://h:1/i/a", "host: other", false, false),
            ("https://u@h/i/a", "", false, false),
            ("/i/a", "host: h", false, true),
            ("/i/a", "", true, true),
        ] {
            let (line, headers) = head("GET", target, Version::HTTP_2, fields);
            let actual = (is_malformed(&line, &headers), has_valid_host(&line, &headers));
            assert_eq!(actual, (expect_malformed, expect_valid_host), "{target} {fields}");
        }
    }
}
