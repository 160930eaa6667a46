//! The URL of a request that a reverse proxy asks about: its host and path, in one form each, so that no spelling of a
//! path passes the access rule for another.

use std::fmt;
use std::net::Ipv6Addr;

/// The longest host name in bytes (RFC 1035 2.3.4).
const MAX_HOST_LENGTH: usize = 253;

/// The host of a request: a name in lower case without port and trailing dot, or an IP address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestHost(String);

impl RequestHost {
    /// Parses the value of a `Host` header field, or the authority of a URL without user information (RFC 9110 7.2).
    /// `None` if it is not a host name or an IP address with an optional port.
    pub fn parse(authority: &str) -> Option<Self> {
        let (host, port) = split_port(authority)?;
        if !port.is_none_or(|port| port.bytes().all(|b| b.is_ascii_digit()) && port.len() <= 5) {
            return None;
        }
        if let Some(address) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            return address.parse::<Ipv6Addr>().ok().map(|address| Self(format!("[{address}]")));
        }
        let name = host.strip_suffix('.').unwrap_or(host);
        let is_label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(is_name_byte);
        let is_name = name.len() <= MAX_HOST_LENGTH && name.split('.').all(is_label);
        is_name.then(|| Self(name.to_ascii_lowercase()))
    }

    /// The host as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Letters, digits and `-`, and `_`, which names of containers have.
fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

/// Splits the port from a host. `None` if an IPv6 address has no brackets.
fn split_port(authority: &str) -> Option<(&str, Option<&str>)> {
    if authority.starts_with('[') {
        let end = authority.find(']')? + 1;
        let (host, after) = authority.split_at(end);
        return match after.strip_prefix(':') {
            Some(port) => Some((host, Some(port))),
            None => after.is_empty().then_some((host, None)),
        };
    }
    match authority.split_once(':') {
        Some((host, port)) => (!port.contains(':')).then_some((host, Some(port))),
        None => Some((authority, None)),
    }
}

/// The path of a request, decoded once and split into segments. It has one reading: a path that servers between client
/// and application could read in several ways is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestPath {
    /// The segments after the first slash. The last is empty if the path ends with a slash.
    segments: Vec<String>,
}

impl RequestPath {
    /// Decodes the path of a request as it was sent, without the query. `None` if it does not begin with a slash, has a
    /// malformed escape, or has, sent or after decoding, one of these:
    ///
    /// - an empty segment (`//`) or a dot segment, which servers merge or resolve (RFC 3986 6.2.2.3)
    /// - an encoded slash, or a backslash, which some servers take for a separator
    /// - `;`, at which others cut off parameters (RFC 3986 3.3)
    /// - `?`, `#`, NUL or another control character, at which yet others cut off the rest
    /// - an escape after decoding, which a server that decodes twice would read as something else
    /// - bytes that are no UTF-8, such as an overlong `/`
    pub fn parse(path: &str) -> Option<Self> {
        let segments: Option<Vec<_>> = path.strip_prefix('/')?.split('/').map(decode_segment).collect();
        let segments = segments?;
        let (last, others) = segments.split_last()?;
        let is_plain = |segment: &String| !segment.is_empty() && !matches!(segment.as_str(), "." | "..");
        (others.iter().all(is_plain) && (last.is_empty() || is_plain(last))).then_some(Self { segments })
    }

    /// Whether this path is `prefix` or below it. Segments are compared whole: `/admin2` is not below `/admin`.
    pub fn is_below(&self, prefix: &PathPrefix) -> bool {
        self.segments.starts_with(&prefix.segments)
    }
}

/// Decodes a segment of a path; `None` if it is ambiguous.
fn decode_segment(segment: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(segment.len());
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        let byte = if byte == b'%' { decode_hex([bytes.next()?, bytes.next()?])? } else { byte };
        decoded.push(byte);
    }
    let text = String::from_utf8(decoded).ok()?;
    let is_ambiguous = text.chars().any(|c| c.is_control() || matches!(c, '/' | '\\' | ';' | '?' | '#'));
    (!is_ambiguous && !has_escape(text.as_bytes())).then_some(text)
}

fn decode_hex([high, low]: [u8; 2]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

fn has_escape(text: &[u8]) -> bool {
    text.windows(3).any(|bytes| matches!(bytes, &[b'%', high, low] if decode_hex([high, low]).is_some()))
}

/// The path of an access rule: a prefix of whole segments. `/x` and `/x/` are the same; the default is `/`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathPrefix {
    segments: Vec<String>,
}

impl PathPrefix {
    /// Parses a prefix, written without escapes; `None` if no request's path can have it, or it has an escape.
    pub fn parse(text: &str) -> Option<Self> {
        let RequestPath { mut segments } = RequestPath::parse(text).filter(|_| !text.contains('%'))?;
        segments.pop_if(|last| last.is_empty());
        Some(Self { segments })
    }

    /// The number of segments; of two prefixes of one path the longer has more.
    pub fn depth(&self) -> usize {
        self.segments.len()
    }
}

impl fmt::Display for PathPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", self.segments.join("/"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn host(text: &str) -> Option<String> {
        RequestHost::parse(text).map(|host| host.to_string())
    }

    #[test]
    fn hosts_are_compared_without_case_port_and_trailing_dot() {
        for text in ["a.example", "A.Example", "a.example.", "a.example:443", "A.EXAMPLE.:8443"] {
            assert_eq!(host(text).as_deref(), Some("a.example"), "{text}");
        }
        assert_eq!(host("[2001:DB8::0:1]:80").as_deref(), Some("[2001:db8::1]"));
        assert_eq!(host("127.0.0.1:9000").as_deref(), Some("127.0.0.1"));
        assert_eq!(host("app_1").as_deref(), Some("app_1"));
        for bad in [
            "",
            ".",
            "a..b",
            "a b",
            "user@a.example",
            "a.example,b.example",
            "a.example/x",
            "a.example:80:80",
            "::1",
            "a.example:x",
            "a.example:123456",
            "[::1",
            "[::1]x",
            "[a.example]",
            "é.example",
            "a\0",
            "a.example\\b",
            "a%2e",
        ] {
            assert_eq!(host(bad), None, "{bad:?}");
        }
    }

    fn segments(path: &str) -> Option<Vec<String>> {
        RequestPath::parse(path).map(|path| path.segments)
    }

    #[test]
    fn paths_are_decoded_once() {
        for (path, expected) in [
            ("/", vec![""]),
            ("/x", vec!["x"]),
            ("/x/", vec!["x", ""]),
            ("/a%2Db/%E7%AE%A1%E7%90%86", vec!["a-b", "管理"]),
            ("/%61dmin", vec!["admin"]),
            ("/100%25", vec!["100%"]),
            ("/.well-known/a..b/...", vec![".well-known", "a..b", "..."]),
            ("/a:b@c,d=e&f+g~h!", vec!["a:b@c,d=e&f+g~h!"]),
        ] {
            assert_eq!(segments(path).unwrap(), expected, "{path}");
        }
    }

    /// docs/THREATS.md, forward auth: each is read in another way by some server (ingress-nginx#8644, Malcolm#1081).
    #[test]
    fn ambiguous_paths_are_refused() {
        for path in [
            "",
            "x",
            "*",
            "http://a/x",
            "//",
            "//x",
            "/a//b",
            "/a//",
            "/.",
            "/..",
            "/a/../b",
            "/a/./b",
            "/a/..",
            "/%2e",
            "/a/%2e%2e/b",
            "/a/.%2E/b",
            "/a%2fb",
            "/a%2Fb",
            "/a%5cb",
            "/a\\b",
            "/a;b",
            "/a;/../b",
            "/a%3bb",
            "/a%3fb",
            "/a%23b",
            "/a?b",
            "/a#b",
            "/a%00b",
            "/a\0b",
            "/a%0ab",
            "/a%7f",
            "/a%c2%85",
            "/a%",
            "/a%2",
            "/a%zz",
            "/a%u002f",
            "/%2561",
            "/%252e%252e/x",
            "/a%25%32%66",
            "/%c0%ae%c0%ae/",
            "/%c0%af",
            "/%e0%80%af",
            "/%ff",
            "/%d5%c5",
        ] {
            assert_eq!(segments(path), None, "{path:?}");
        }
    }

    #[test]
    fn prefixes_match_whole_segments() {
        let prefix = |text: &str| PathPrefix::parse(text).unwrap();
        let is_below = |path: &str, text: &str| RequestPath::parse(path).unwrap().is_below(&prefix(text));
        for path in ["/admin", "/admin/", "/admin/x", "/%61dmin/x/y"] {
            assert!(is_below(path, "/admin") && is_below(path, "/admin/") && is_below(path, "/"), "{path}");
        }
        for path in ["/", "/admin2", "/Admin", "/x/admin", "/adm"] {
            assert!(!is_below(path, "/admin/"), "{path}");
        }
        assert_eq!(prefix("/admin"), prefix("/admin/"));
        assert_eq!((prefix("/").depth(), prefix("/a/b/").depth()), (0, 2));
        assert_eq!([prefix("/").to_string(), prefix("/a/管理/").to_string()], ["/", "/a/管理"]);
        for bad in ["", "x", "/a%2Db", "/a//b", "/a/../b", "/a;b", "/a?b", "//"] {
            assert_eq!(PathPrefix::parse(bad), None, "{bad}");
        }
    }

    /// How other programs read a path before they choose what to serve.
    fn other_readings(path: &str) -> Vec<String> {
        let decode = |path: &str| {
            let (mut rest, mut bytes) = (path.as_bytes(), Vec::new());
            while let Some((&byte, after)) = rest.split_first() {
                let escaped = (byte == b'%').then(|| decode_hex([*after.first()?, *after.get(1)?])).flatten();
                bytes.push(escaped.unwrap_or(byte));
                rest = if escaped.is_some() { &after[2..] } else { after };
            }
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let cut = |path: &str| path.split(['?', '#', '\0']).next().unwrap().to_owned();
        let parameters = |path: &str| {
            path.split('/').map(|segment| segment.split(';').next().unwrap()).collect::<Vec<_>>().join("/")
        };
        let resolve = |path: &str| {
            let mut segments: Vec<&str> = Vec::new();
            for segment in path.split('/') {
                match segment {
                    "" | "." => {}
                    ".." => drop(segments.pop()),
                    other => segments.push(other),
                }
            }
            format!("/{}", segments.join("/"))
        };
        let backslashes = |path: &str| path.replace('\\', "/");
        let once = decode(path);
        let twice = decode(&once);
        [once, twice].iter().map(|path| resolve(&backslashes(&parameters(&cut(path))))).collect()
    }

    proptest! {
        #[test]
        fn every_reading_of_an_accepted_path_is_the_same(
            path in "/([a-c]|%[0-9a-f]{2}|%2[ef5]|[/.;%?#\\\\]|管){0,12}",
        ) {
            if let Some(segments) = segments(&path) {
                let ours = format!("/{}", segments.join("/"));
                for other in other_readings(&path) {
                    prop_assert_eq!(ours.trim_end_matches('/'), other.trim_end_matches('/'), "{}", path);
                }
            }
        }

        #[test]
        fn any_text_is_parsed_without_panic(text in "\\PC{0,60}") {
            let _ = (RequestPath::parse(&text), PathPrefix::parse(&text), RequestHost::parse(&text));
        }

        #[test]
        fn a_parsed_host_is_its_own_form(text in "[a-zA-Z0-9.:\\[\\]_-]{0,24}") {
            if let Some(host) = RequestHost::parse(&text) {
                prop_assert_eq!(RequestHost::parse(host.as_str()), Some(host));
            }
        }
    }
}
