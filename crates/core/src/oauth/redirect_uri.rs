//! Redirect URIs, which are compared byte by byte with those of requests (RFC 9700 2.1). Only URIs that every browser
//! and library reads in the same way can be registered.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::uri::AbsoluteUri;

/// The most bytes of a redirect URI.
const MAX_LENGTH: usize = 1_024;

/// Parameters of authorization responses, which must not be in a registered query: a client could not say which value
/// is the server's (RFC 6749 4.1.2, RFC 9207 2, OpenID Connect Session Management).
const RESPONSE_PARAMETERS: [&str; 12] = [
    "code",
    "state",
    "iss",
    "error",
    "error_description",
    "error_uri",
    "response",
    "id_token",
    "access_token",
    "token_type",
    "expires_in",
    "session_state",
];

/// A registered redirect URI: `https`, or `http` on a loopback address or `localhost`, or a private-use scheme with a
/// dot (RFC 8252 7.1, 7.3), in the one form that [`RedirectUriError`] describes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RedirectUri(String);

/// Why a redirect URI cannot be registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedirectUriError {
    /// The URI is too long.
    #[error("it has more than 1024 bytes")]
    TooLong,
    /// The URI has no scheme, or a character that URIs cannot have.
    #[error(
        "it is not an absolute URI in ASCII; a host with other letters is written with xn--, and other characters of a \
         path or query as %XX"
    )]
    NotAUri,
    /// The scheme is not acceptable.
    #[error(
        "its scheme must be https, or http for a loopback host, or in lower case with a dot, such as com.example.app"
    )]
    Scheme,
    /// `http` for a host that is not the user's own machine.
    #[error("http is only for 127.0.0.1, [::1] and localhost; use https")]
    PlainHttp,
    /// The URI has user info.
    #[error("it has a user name before its host; remove everything up to the @")]
    UserInfo,
    /// The host or port is not acceptable.
    #[error("its host must be a name in lower case, an IPv4 address or an IPv6 address in [], its port 1 to 65535")]
    Host,
    /// The path is not acceptable.
    #[error(
        "its path has a dot segment, an empty segment, or one of ; \\ and their encodings; write the path that remains"
    )]
    Path,
    /// The URI has a wildcard.
    #[error("it has a *; register each redirect URI, because they are compared byte by byte")]
    Wildcard,
    /// The URI has a fragment.
    #[error("it has a fragment; remove everything from the # on")]
    Fragment,
    /// The query has a parameter of an authorization response.
    #[error("its query has a parameter that the answer adds, such as code, state or iss; remove it")]
    ResponseParameter,
    /// The query has an encoded control character.
    #[error("its query has an encoded control character; remove it")]
    Query,
}

impl RedirectUri {
    /// Parses a URI that an administrator registers.
    ///
    /// # Errors
    /// [`RedirectUriError`] says what is not acceptable.
    pub fn parse(text: &str) -> Result<Self, RedirectUriError> {
        use RedirectUriError as E;
        if text.len() > MAX_LENGTH {
            return Err(E::TooLong);
        }
        let uri = AbsoluteUri::parse(text).ok_or(E::NotAUri)?;
        if uri.fragment.is_some() {
            return Err(E::Fragment);
        }
        if text.contains('*') || contains_escape(text, |byte| byte == b'*') {
            return Err(E::Wildcard);
        }
        check_authority(&uri)?;
        check_path(uri.path)?;
        uri.query.map_or(Ok(()), check_query)?;
        Ok(Self(text.to_owned()))
    }

    /// The URI as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RedirectUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Checks scheme, host and port. Schemes and hosts have no case, and are compared byte by byte: they must be in lower
/// case.
fn check_authority(uri: &AbsoluteUri<'_>) -> Result<(), RedirectUriError> {
    use RedirectUriError as E;
    if uri.authority.is_some_and(|authority| authority.contains('@')) {
        return Err(E::UserInfo);
    }
    let host = uri.authority.map(|authority| parse_host(authority).ok_or(E::Host)).transpose();
    match (uri.scheme, host?) {
        ("https", Some(_)) => Ok(()),
        ("http", Some(host)) if is_loopback(host) => Ok(()),
        ("http", Some(_)) => Err(E::PlainHttp),
        (scheme, host) if is_private_use(scheme) && (host.is_some() || uri.path.starts_with('/')) => Ok(()),
        _ => Err(E::Scheme),
    }
}

/// A reverse domain name in lower case, such as `com.example.app` (RFC 8252 7.1).
fn is_private_use(scheme: &str) -> bool {
    let is_label = |label: &str| !label.is_empty() && label.bytes().all(is_lowercase_or_digit_or_hyphen);
    scheme.contains('.') && scheme.split('.').all(is_label)
}

fn is_lowercase_or_digit_or_hyphen(b: u8) -> bool {
    b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'
}

/// The host of an authority without user info; `None` if the host or the port is not acceptable.
fn parse_host(authority: &str) -> Option<&str> {
    let end = if authority.starts_with('[') {
        authority.find(']')? + 1
    } else {
        authority.find(':').unwrap_or(authority.len())
    };
    let (host, port) = authority.split_at(end);
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|number| number > 0 && number.to_string() == port);
    (is_host(host) && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))).then_some(host)
}

fn is_host(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        // Addresses with an IPv4 address in them have two canonical forms, with dots (RFC 5952 5) and without (WHATWG).
        let is_canonical = address.parse::<Ipv6Addr>().is_ok_and(|parsed| parsed.to_string() == address);
        return is_canonical && !address.contains('.');
    }
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(is_lowercase_or_digit_or_hyphen)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // A last label of digits only, or one like 0x7f, makes the whole host an IPv4 address (WHATWG URL 3.5).
    let last = host.rsplit('.').next().unwrap_or_default();
    let is_numeric = last.starts_with("0x") || last.bytes().all(|b| b.is_ascii_digit());
    host.len() <= 253
        && host.split('.').all(is_label)
        && (!is_numeric || host.parse::<Ipv4Addr>().is_ok_and(|parsed| parsed.to_string() == host))
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host == "[::1]" || host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
}

/// Refuses what servers and proxies resolve differently: dot segments, empty segments, path parameters, and encodings
/// of characters that need none or that separate.
fn check_path(path: &str) -> Result<(), RedirectUriError> {
    let is_clear =
        |byte: u8| !byte.is_ascii_control() && !byte.is_ascii_alphanumeric() && !b"-._~/\\;%".contains(&byte);
    let mut segments = path.strip_prefix('/').unwrap_or_default().split('/');
    let last = segments.next_back();
    let has_bad_segment = segments.any(|segment| matches!(segment, "" | "." | ".."))
        || last.is_some_and(|segment| matches!(segment, "." | ".."));
    match has_bad_segment || path.contains(';') || contains_escape(path, |byte| !is_clear(byte)) {
        true => Err(RedirectUriError::Path),
        false => Ok(()),
    }
}

fn check_query(query: &str) -> Result<(), RedirectUriError> {
    if contains_escape(query, |byte| byte.is_ascii_control()) {
        return Err(RedirectUriError::Query);
    }
    let is_reserved = |pair: &str| {
        let name = decode(pair.split('=').next().unwrap_or_default());
        RESPONSE_PARAMETERS.iter().any(|parameter| name.eq_ignore_ascii_case(parameter.as_bytes()))
    };
    match query.split(['&', ';']).any(is_reserved) {
        true => Err(RedirectUriError::ResponseParameter),
        false => Ok(()),
    }
}

/// The bytes that are percent-encoded in `text`, in which every `%` has two hex digits.
fn escaped_bytes(text: &str) -> impl Iterator<Item = u8> {
    text.split('%').skip(1).filter_map(|rest| u8::from_str_radix(rest.get(..2)?, 16).ok())
}

fn contains_escape(text: &str, predicate: impl Fn(u8) -> bool) -> bool {
    escaped_bytes(text).any(predicate)
}

/// Percent-decodes `text`, in which every `%` has two hex digits.
fn decode(text: &str) -> Vec<u8> {
    let mut parts = text.split('%');
    let mut decoded = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        decoded.extend(escaped_bytes(&format!("%{part}")));
        decoded.extend(part.bytes().skip(2));
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::RedirectUriError as E;
    use super::*;

    #[test]
    fn https_loopback_and_private_use_schemes_are_accepted() {
        for good in [
            "https://app.example/cb",
            "https://app.example",
            "https://app.example:8443/a/b/?tenant=1&x=%2Fa",
            "https://xn--fiq228c.example/%E4%B8%AD",
            "https://192.0.2.1/cb",
            "https://[2001:db8::1]/cb",
            "https://app.example/@team/cb",
            "http://127.0.0.1/cb",
            "http://127.0.0.1:49152/cb",
            "http://127.8.8.8/cb",
            "http://[::1]:8080/cb",
            "http://localhost:3000/cb",
            "com.example.app:/oauth2redirect",
            "com.example.app://callback",
        ] {
            assert_eq!(RedirectUri::parse(good).map(|uri| uri.to_string()), Ok(good.to_owned()));
        }
    }

    // Attack A4 of the threat list: each of these was a way around the comparison of redirect URIs somewhere.

    #[test]
    fn other_schemes_and_plain_http_are_refused() {
        for (bad, error) in [
            ("https:cb", E::Scheme),
            ("https:/app.example/cb", E::Scheme),
            ("HTTPS://app.example/cb", E::Scheme),
            ("javascript:alert(1)", E::Scheme),
            ("data:text/html,x", E::Scheme),
            ("urn:ietf:wg:oauth:2.0:oob", E::Scheme),
            ("myapp:/cb", E::Scheme),
            ("com..app:/cb", E::Scheme),
            ("com.example.:/cb", E::Scheme),
            ("Com.Example:/cb", E::Scheme),
            ("com.example.app:cb", E::Scheme),
            ("http://app.example/cb", E::PlainHttp),
            ("http://localhost.evil.example/cb", E::PlainHttp),
            ("http://127.0.0.1.evil.example/cb", E::PlainHttp),
            ("http://0.0.0.0/cb", E::PlainHttp),
            ("http://[::]/cb", E::PlainHttp),
        ] {
            assert_eq!(RedirectUri::parse(bad), Err(error), "{bad}");
        }
    }

    #[test]
    fn user_info_and_ambiguous_hosts_are_refused() {
        for (bad, error) in [
            ("https:///cb", E::Host),
            ("com.example.app:///cb", E::Host),
            ("https://user@app.example/cb", E::UserInfo),
            ("https://a@b@evil.example/cb", E::UserInfo),
            ("https://app.example:443@evil.example/cb", E::UserInfo),
            ("https://App.example/cb", E::Host),
            ("https://app.example./cb", E::Host),
            ("https://app..example/cb", E::Host),
            ("https://-app.example/cb", E::Host),
            ("https://app_1.example/cb", E::Host),
            ("https://app%2eexample/cb", E::Host),
            ("https://app.example%2f.evil.example/cb", E::Host),
            ("https://app.example:/cb", E::Host),
            ("https://app.example:0/cb", E::Host),
            ("https://app.example:0443/cb", E::Host),
            ("https://app.example:65536/cb", E::Host),
            ("https://app.example:+443/cb", E::Host),
            ("https://127.1/cb", E::Host),
            ("https://0x7f.0.0.1/cb", E::Host),
            ("https://0x7f000001/cb", E::Host),
            ("https://2130706433/cb", E::Host),
            ("https://127.0.0.01/cb", E::Host),
            ("https://256.0.0.1/cb", E::Host),
            ("https://[::ffff:7f00:1]x/cb", E::Host),
            ("https://[::ffff:127.0.0.1]/cb", E::Host),
            ("https://[::ffff:7f00:1]/cb", E::Host),
            ("https://[0:0:0:0:0:0:0:1]/cb", E::Host),
            ("https://[::1%25eth0]/cb", E::Host),
            ("https://[::1/cb", E::Host),
            ("https://app.example\\@evil.example/cb", E::NotAUri),
            ("https://app.example\\.evil.example/cb", E::NotAUri),
        ] {
            assert_eq!(RedirectUri::parse(bad), Err(error), "{bad}");
        }
    }

    #[test]
    fn ambiguous_paths_and_queries_are_refused() {
        let too_long = format!("https://app.example/{}", "x".repeat(MAX_LENGTH));
        for (bad, error) in [
            ("", E::NotAUri),
            ("/cb", E::NotAUri),
            ("//app.example/cb", E::NotAUri),
            ("app.example/cb", E::NotAUri),
            ("https://app.example/cb\\", E::NotAUri),
            ("https://app.example/cb#", E::Fragment),
            ("https://app.example/cb#x", E::Fragment),
            ("https://*.app.example/cb", E::Wildcard),
            ("https://app.example/*", E::Wildcard),
            ("https://app.example/%2a", E::Wildcard),
            ("https://app.example/cb?x=*", E::Wildcard),
            ("https://app.example/a/../cb", E::Path),
            ("https://app.example/a/..", E::Path),
            ("https://app.example/./cb", E::Path),
            ("https://app.example/..;/cb", E::Path),
            ("https://app.example/cb;x=1", E::Path),
            ("https://app.example/%2e%2e/cb", E::Path),
            ("https://app.example/%2E./cb", E::Path),
            ("https://app.example/%252e%252e/cb", E::Path),
            ("https://app.example/a%2fcb", E::Path),
            ("https://app.example/a%5ccb", E::Path),
            ("https://app.example/a%3bcb", E::Path),
            ("https://app.example/%63b", E::Path),
            ("https://app.example/cb%00", E::Path),
            ("https://app.example/cb%0d%0a", E::Path),
            ("https://app.example//evil.example/cb", E::Path),
            ("https://app.example/a//cb", E::Path),
            ("https://app.example/cb?code=x", E::ResponseParameter),
            ("https://app.example/cb?a=1&STATE=x", E::ResponseParameter),
            ("https://app.example/cb?a=1;iss=x", E::ResponseParameter),
            ("https://app.example/cb?%63ode=x", E::ResponseParameter),
            ("https://app.example/cb?error", E::ResponseParameter),
            ("https://app.example/cb?x=%0d%0aLocation:", E::Query),
            ("https://app.example/c b", E::NotAUri),
            ("https://app.example/c\tb", E::NotAUri),
            ("https://app.exa\nmple/cb", E::NotAUri),
            (" https://app.example/cb", E::NotAUri),
            ("https://app.example/cb\0", E::NotAUri),
            ("https://аpp.example/cb", E::NotAUri),
            ("https://app.example/cb/中", E::NotAUri),
            ("https://app.example/%2", E::NotAUri),
            ("https://app.example/%zz", E::NotAUri),
            ("https://app.example/<x>", E::NotAUri),
            (too_long.as_str(), E::TooLong),
        ] {
            assert_eq!(RedirectUri::parse(bad), Err(error), "{bad}");
        }
    }
}
