//! What is judged of a request's head beyond what hyper judges, before a service is asked.

use std::borrow::Cow;

use hyper::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING, UPGRADE};
use hyper::http::uri::PathAndQuery;
use hyper::{HeaderMap, Method, Uri, Version};
use stele_service::path::{canonical, is_canonical};

use crate::headers::{is_token_of, too_large};
use crate::refusal::Cause;
use crate::table::{Route, Table};

/// The first line of a request, or what HTTP/2 has in its place.
#[derive(Debug)]
pub(crate) struct RequestLine {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) version: Version,
}

impl RequestLine {
    /// The line as it was sent, but that bytes beyond ASCII in the query, which are UTF-8, are percent-encoded: a service
    /// that takes none reads the same.
    pub(crate) fn new(method: Method, uri: Uri, version: Version) -> Self {
        let mut line = Self { method, uri, version };
        if line.uri.query().is_some_and(|query| !query.is_ascii()) {
            line.uri = rewritten(&line.uri, line.path());
        }
        line
    }

    /// The route that it has, and makes its path the canonical one if there is a route.
    pub(crate) fn route<'a>(&mut self, table: &'a Table) -> Option<&'a Route> {
        let path = canonical(self.path()).filter(|path| path != self.path()).map(Cow::into_owned);
        let route = table.find(path.as_deref().unwrap_or_else(|| self.path()))?;
        if let Some(path) = path {
            self.uri = rewritten(&self.uri, &path);
        }
        Some(route)
    }

    /// Path and query; empty if the target is a host alone.
    pub(crate) fn target(&self) -> &str {
        self.uri.path_and_query().map(PathAndQuery::as_str).unwrap_or_default()
    }

    /// The path before anything decodes it.
    pub(crate) fn path(&self) -> &str {
        self.uri.path()
    }

    /// The target that a service gets.
    pub(crate) fn origin_form(&self) -> Uri {
        self.uri.path_and_query().cloned().map(Uri::from).unwrap_or_default()
    }

    /// Whether what follows the request on its connection may be no request. After an offer of h2c it is one: HTTP/2 begins
    /// only behind a 101 (RFC 9110, section 7.8), and Java's `HttpClient` offers it on each new connection.
    pub(crate) fn is_last(&self, headers: &HeaderMap) -> bool {
        let mut offers = headers.get_all(UPGRADE).iter();
        let is_h2c_alone = matches!((offers.next(), offers.next()), (Some(one), None) if one.as_bytes() == b"h2c");
        self.method == Method::CONNECT || (is_token_of(headers, &CONNECTION, "upgrade") && !is_h2c_alone)
    }
}

/// The path of a head that need not be whole, as far as it is there, in its canonical form if it has one.
pub(crate) fn path_of(head: &[u8]) -> Option<String> {
    let mut words = head.trim_ascii_start().splitn(3, |byte| *byte == b' ');
    let target = String::from_utf8_lossy(words.by_ref().nth(1)?);
    let target = match target.split_once("://") {
        Some((scheme, rest)) if !scheme.contains('/') => rest.find('/').map(|at| &rest[at..])?,
        _ => &target,
    };
    let path = target.split(['?', '#', '\r', '\n']).next()?;
    Some(canonical(path).map_or_else(|| path.to_owned(), Cow::into_owned))
}

/// `uri` with this path, and with what its query has beyond ASCII percent-encoded.
fn rewritten(uri: &Uri, path: &str) -> Uri {
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
    // What is too long so is left as it is, and is refused in its route's dialect.
    let Ok(target) = PathAndQuery::try_from(target) else { return uri.clone() };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(target);
    Uri::from_parts(parts).unwrap_or_else(|_| uri.clone())
}

/// Whether the head is one that hyper takes and RFC 9112 does not: no route is asked then.
///
/// - Section 3.2: one `Host`, and one in HTTP/1.1 in any case
/// - Section 6.1: no encoding but `chunked`, and that once
/// - Section 3.2 of RFC 9112 and 3 of RFC 3986: a target is ASCII
/// - Section 7.2.2 of RFC 1945: a POST of HTTP/1.0 has a length
pub(crate) fn is_malformed(line: &RequestLine, headers: &HeaderMap) -> bool {
    let mut encodings = headers.get_all(TRANSFER_ENCODING).iter();
    let is_encoded = match encodings.next() {
        Some(encoding) if !encoding.as_bytes().eq_ignore_ascii_case(b"chunked") => return true,
        encoding => encoding.is_some(),
    };
    let hosts = headers.get_all(HOST).iter().count();
    let is_host_missing = match line.version {
        Version::HTTP_10 => false,
        Version::HTTP_2 => hosts == 0 && line.uri.authority().is_none(),
        _ => hosts == 0,
    };
    let is_length_missing = line.version == Version::HTTP_10
        && line.method == Method::POST
        && !is_encoded
        && !headers.contains_key(CONTENT_LENGTH);
    let is_ascii = line.target().bytes().all(|byte| byte.is_ascii_graphic());
    encodings.next().is_some() || hosts > 1 || is_host_missing || is_length_missing || !is_ascii
}

/// What can be judged before a service is asked, whose bodies may have `most` bytes; `length` is what the body has by
/// its head.
pub(crate) fn check(line: &RequestLine, headers: &HeaderMap, length: Option<u64>, most: u64) -> Result<(), Cause> {
    if !is_canonical(line.path()) {
        return Err(Cause::NotFound);
    }
    if matches!(line.method, Method::CONNECT | Method::TRACE) {
        return Err(Cause::Method);
    }
    if too_large(line, headers) {
        return Err(Cause::HeadersTooLarge);
    }
    if !names_a_host(line, headers) {
        return Err(Cause::BadRequest);
    }
    // What follows such a head is no request, for who sends it.
    if is_token_of(headers, &UPGRADE, "websocket") {
        return Err(Cause::BadRequest);
    }
    if length.is_some_and(|length| length > most) { Err(Cause::TooLarge) } else { Ok(()) }
}

/// Whether `Host` is what RFC 9110, section 7.2, wants it to be, a name or an address, and perhaps a port; and in HTTP/2
/// the same as `:authority`.
pub(crate) fn names_a_host(line: &RequestLine, headers: &HeaderMap) -> bool {
    let known = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~:[]".contains(byte);
    let authority =
        line.uri.authority().filter(|_| line.version == Version::HTTP_2).map(|authority| authority.as_str());
    let is_one = |host: &[u8]| authority.is_none_or(|authority| host.eq_ignore_ascii_case(authority.as_bytes()));
    let is_host = |host: &[u8]| !host.is_empty() && host.iter().all(known);
    let hosts = headers.get_all(HOST).iter().map(|host| host.as_bytes());
    authority.is_none_or(|authority| is_host(authority.as_bytes()))
        && hosts.into_iter().all(|host| is_host(host) && is_one(host))
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    /// The head of a request whose fields are `name: value` a line.
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
    fn targets_lose_what_is_not_for_a_service() {
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
    fn the_path_becomes_canonical_where_a_route_leads_and_the_query_ascii_anywhere() {
        let table = Table::built_in().unwrap();
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
            assert_eq!(line.route(&table).map(|route| route.service.as_str()), service, "{sent}");
            assert_eq!(line.target(), target, "{sent}");
            let authority = sent.parse::<Uri>().unwrap().into_parts().authority;
            assert_eq!(line.uri.authority(), authority.as_ref(), "{sent}");
        }
    }

    #[test]
    fn the_path_of_a_head_is_known_before_its_end() {
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
            assert_eq!(path_of(head.as_bytes()).as_deref(), path, "{head:?}");
        }
        assert_eq!(path_of(b"GET /i/a?\xc1\xf5 HTTP/1.1").as_deref(), Some("/i/a"));
    }

    #[test]
    fn heads_that_hyper_takes_and_the_gateway_does_not_are_malformed() {
        const CHUNKED: &str = "host: h\ntransfer-encoding: chunked";
        for (method, version, fields, is_refused) in [
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
            assert_eq!(is_malformed(&line, &headers), is_refused, "{method} {version:?} {fields:?}");
        }
    }

    #[test]
    fn a_query_that_is_too_long_when_encoded_is_refused_where_its_path_leads() {
        let (line, headers) = head("GET", &format!("/i/a?{}", "é".repeat(12_000)), Version::HTTP_11, "host: h");
        let line = RequestLine::new(line.method, line.uri, line.version);
        assert_eq!(line.path(), "/i/a");
        assert!(is_malformed(&line, &headers));
    }

    #[test]
    fn only_an_offer_of_h2c_leaves_the_connection_as_it_is() {
        for (method, fields, is_last) in [
            ("GET", "connection: close", false),
            ("GET", "connection: Upgrade, HTTP2-Settings\nupgrade: h2c", false),
            ("GET", "connection: upgrade\nupgrade: h2c, websocket", true),
            ("GET", "connection: upgrade\nupgrade: h2c\nupgrade: h2c", true),
            ("GET", "connection: upgrade\nupgrade: TLS/1.2", true),
            ("GET", "connection: upgrade", true),
            ("CONNECT", "connection: upgrade\nupgrade: h2c", true),
        ] {
            let (line, headers) = head(method, "/i/a", Version::HTTP_11, fields);
            assert_eq!(line.is_last(&headers), is_last, "{method} {fields:?}");
        }
    }

    #[test]
    fn http2_has_one_host_in_two_places() {
        for (target, fields, is_malformed_, is_named) in [
            ("https://h:1/i/a", "", false, true),
            ("https://h:1/i/a", "host: H:1", false, true),
            ("https://h:1/i/a", "host: other", false, false),
            ("https://u@h/i/a", "", false, false),
            ("/i/a", "host: h", false, true),
            ("/i/a", "", true, true),
        ] {
            let (line, headers) = head("GET", target, Version::HTTP_2, fields);
            let seen = (is_malformed(&line, &headers), names_a_host(&line, &headers));
            assert_eq!(seen, (is_malformed_, is_named), "{target} {fields}");
        }
    }
}
