//! The request that a reverse proxy asks about: its host, path and query, from the one family of header fields that the
//! proxy sets at this endpoint. Fields of another family are the client's own and are not read.

use std::borrow::Cow;

use actix_web::HttpRequest;
use actix_web::http::header::{HOST, HeaderMap};
use stele_core::oauth::RequestHost;

/// How a proxy describes the original request. Each contract has an endpoint of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyContract {
    /// nginx: `X-Original-URL`.
    AuthRequest,
    /// Caddy and Traefik: `X-Forwarded-Host` and `X-Forwarded-Uri`.
    ForwardAuth,
    /// Envoy: the request itself, with the path after [`EXT_AUTHZ_PREFIX`].
    ExtAuthz,
}

/// What Envoy puts before the original path.
pub const EXT_AUTHZ_PREFIX: &str = "/authz/ext-authz";

/// The request that the proxy asks about.
#[derive(Debug, PartialEq, Eq)]
pub struct OriginalRequest<'a> {
    /// The host.
    pub host: RequestHost,
    /// The path as it was sent: encoded, and not normalized.
    pub path: &'a str,
    /// The query without the question mark; empty if there is none.
    pub query: &'a str,
}

impl<'a> OriginalRequest<'a> {
    /// Reads the request. `None` if a field is missing, repeated or malformed: the proxy is not configured as
    /// `deploy/forward-auth` describes.
    pub fn read(contract: ProxyContract, request: &'a HttpRequest) -> Option<Self> {
        let headers = request.headers();
        match contract {
            ProxyContract::AuthRequest => Self::from_url(single_value(headers, "x-original-url")?),
            ProxyContract::ForwardAuth => {
                let host = single_value(headers, "x-forwarded-host")?;
                Self::from_parts(host, single_value(headers, "x-forwarded-uri")?)
            }
            ProxyContract::ExtAuthz => {
                let target = request.uri().path_and_query()?.as_str();
                Self::from_parts(single_value(headers, HOST.as_str())?, target.strip_prefix(EXT_AUTHZ_PREFIX)?)
            }
        }
    }

    fn from_url(url: &'a str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let is_http = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
        let (host, target) = rest.split_at(rest.find('/')?);
        Self::from_parts(host, target).filter(|_| is_http)
    }

    fn from_parts(host: &str, target: &'a str) -> Option<Self> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let host = RequestHost::parse(host)?;
        path.starts_with('/').then_some(Self { host, path, query })
    }

    /// The values of the query's parameter `token`, decoded as a form.
    pub fn query_tokens(&self) -> impl Iterator<Item = Cow<'a, str>> {
        let pairs = self.query.split('&').filter_map(|pair| pair.split_once('='));
        let values =
            pairs.filter(|(name, _)| decode(name).eq_ignore_ascii_case("token")).map(|(_, value)| decode(value));
        values.filter(|value| !value.is_empty())
    }
}

/// The only value of a header field.
fn single_value<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name);
    let value = values.next()?;
    if values.next().is_some() {
        return None;
    }
    std::str::from_utf8(value.as_bytes()).ok()
}

/// Decodes a form's name or value. Credentials have no space, so `+` need not be decoded.
fn decode(text: &str) -> Cow<'_, str> {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy()
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn read(contract: ProxyContract, target: &str, headers: &[(&str, &str)]) -> Option<(String, String, String)> {
        let mut request = TestRequest::with_uri(target);
        for header in headers {
            request = request.append_header(*header);
        }
        let request = request.to_http_request();
        let original = OriginalRequest::read(contract, &request)?;
        Some((original.host.to_string(), original.path.to_owned(), original.query.to_owned()))
    }

    fn parts(host: &str, path: &str, query: &str) -> Option<(String, String, String)> {
        Some((host.to_owned(), path.to_owned(), query.to_owned()))
    }

    #[test]
    fn nginx_describes_the_request_by_its_url() {
        let read_url =
            |url: &str| read(ProxyContract::AuthRequest, "/authz/auth-request?x=1", &[("x-original-url", url)]);
        assert_eq!(read_url("https://A.example:8443/a/../b%2f?c=d?e"), parts("a.example", "/a/../b%2f", "c=d?e"));
        assert_eq!(read_url("http://a.example/"), parts("a.example", "/", ""));
        for bad in [
            "",
            "/x",
            "a.example/x",
            "ftp://a.example/",
            "https://a.example",
            "https://a.example?x",
            "https://u@a/",
            "https:///x",
        ] {
            assert_eq!(read_url(bad), None, "{bad}");
        }
    }

    #[test]
    fn caddy_and_traefik_describe_the_request_by_host_and_uri() {
        let read_parts = |host: &str, uri: &str| {
            let headers = [("x-forwarded-host", host), ("x-forwarded-uri", uri)];
            read(ProxyContract::ForwardAuth, "/authz/forward-auth?x=1", &headers)
        };
        assert_eq!(read_parts("a.example:443", "/a?b"), parts("a.example", "/a", "b"));
        for (host, uri) in [("a, b", "/"), ("", "/"), ("a", ""), ("a", "x"), ("a", "http://b/x")] {
            assert_eq!(read_parts(host, uri), None, "{host} {uri}");
        }
    }

    #[test]
    fn envoy_sends_the_request_itself() {
        let read_target = |target: &str| read(ProxyContract::ExtAuthz, target, &[("host", "a.example")]);
        assert_eq!(read_target("/authz/ext-authz/a/../b%2f?x=1"), parts("a.example", "/a/../b%2f", "x=1"));
        assert_eq!(read_target("/authz/ext-authz/"), parts("a.example", "/", ""));
        for bad in ["/authz/ext-authz", "/authz/ext-authz?x", "/authz/ext-authzx", "/authz/"] {
            assert_eq!(read_target(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_repeated_field_and_the_fields_of_another_family_count_as_missing() {
        let all = [
            ("x-original-url", "https://a.example/"),
            ("x-forwarded-host", "b.example"),
            ("x-forwarded-uri", "/b"),
            ("host", "c.example"),
        ];
        for (contract, own) in [
            (ProxyContract::AuthRequest, vec!["x-original-url"]),
            (ProxyContract::ForwardAuth, vec!["x-forwarded-host", "x-forwarded-uri"]),
            (ProxyContract::ExtAuthz, vec!["host"]),
        ] {
            let target = "/authz/ext-authz/x";
            assert!(read(contract, target, &all).is_some(), "{contract:?}");
            for name in own {
                let others: Vec<_> = all.iter().copied().filter(|(other, _)| *other != name).collect();
                assert_eq!(read(contract, target, &others), None, "{contract:?} without {name}");
                let twice: Vec<_> =
                    all.iter().copied().chain(all.into_iter().filter(|(other, _)| *other == name)).collect();
                assert_eq!(read(contract, target, &twice), None, "{contract:?} with {name} twice");
            }
        }
    }

    #[test]
    fn the_token_parameter_is_decoded() {
        let request =
            OriginalRequest::from_parts("a", "/?x=1&token=ab%63&TOKEN=d&token=&tokens=e&t%6fken=f&token").unwrap();
        assert_eq!(request.query_tokens().collect::<Vec<_>>(), ["abc", "d", "f"]);
    }
}
