//! The issuer of access tokens (RFC 8414 2): the URL at which clients reach Stele.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use actix_web::http::Uri;
use stele_service::{AnySetting as _, ConfigError};

use crate::Context;
use crate::token_settings::PUBLIC_URL;

/// The issuer: an https URL without query, fragment and trailing slash, or an http URL on loopback. Compared byte by byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer(String);

/// Where clients reach this process, if no setting says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicEndpoint {
    /// `http` or `https`.
    pub scheme: &'static str,
    /// The listening address.
    pub address: SocketAddr,
}

impl Issuer {
    /// The issuer of a process: `STELE_PUBLIC_URL`, or else the address on which the process listens, if that is on
    /// loopback.
    ///
    /// # Errors
    /// If `STELE_PUBLIC_URL` is not an issuer, or is missing although the process does not listen on loopback.
    pub fn of_context(context: &Context) -> Result<Self, ConfigError> {
        let public_url = context.settings.get(&PUBLIC_URL)?;
        let setting_error = |reason: &str| ConfigError::new(format!("{}: {reason}", PUBLIC_URL.name()));
        if !public_url.is_empty() {
            return Self::parse(&public_url).map_err(|reason| setting_error(&reason));
        }
        let endpoint = context.public_endpoint.filter(|endpoint| endpoint.address.ip().to_canonical().is_loopback());
        let endpoint = endpoint.ok_or_else(|| {
            setting_error(
                "is not set, and the program does not listen on loopback; set the https URL at which clients reach it, \
                 which is the issuer of tokens",
            )
        })?;
        Ok(Self(format!("{}://{}", endpoint.scheme, endpoint.address)))
    }

    /// Parses an issuer.
    ///
    /// # Errors
    /// If `text` is not an https URL (RFC 8414 2), or an http URL on loopback, or has a query, a fragment, a user name, an
    /// upper-case letter in scheme or host, a port that no server has, a trailing slash, or a path in which a segment is
    /// empty, dots alone, or has other characters than `A-Z a-z 0-9 . _ ~ -`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let error = |reason: &str| Err(format!("`{text}` {reason}; set a URL such as https://auth.example.com"));
        let uri = match text.parse::<Uri>() {
            Ok(uri) if uri.host().is_some_and(|host| !host.is_empty()) => uri,
            _ => return error("is not a URL"),
        };
        if text.contains(['?', '#', '@']) {
            return error("has a query, a fragment or a user name");
        }
        match uri.scheme_str() {
            Some("https") => {}
            Some("http") if uri.host().is_some_and(is_loopback) => {}
            _ => return error("is neither https nor on loopback"),
        }
        let is_label = |label: &str| !label.is_empty() && !label.contains(|c: char| c.is_ascii_uppercase());
        let is_normal = text.starts_with("http") && uri.host().is_some_and(|host| host.split('.').all(is_label));
        if !is_normal || !has_valid_port(&uri) {
            return error("has upper-case letters before its path, an empty label in its host, or no valid port");
        }
        // The path is a part of the metadata's URL (RFC 8414 3.1), which the gateway must not change.
        let path = text.split_once("://").and_then(|(_, rest)| rest.split_once('/')).map(|(_, path)| path);
        let is_plain = |segment: &str| {
            let is_plain_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte);
            !matches!(segment, "" | "." | "..") && segment.bytes().all(is_plain_byte)
        };
        match path {
            Some(path) if !path.split('/').all(is_plain) => error("has a path that is not plain segments"),
            _ => Ok(Self(text.to_owned())),
        }
    }

    /// The URL.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path of the URL, empty or beginning with a slash.
    pub fn path(&self) -> &str {
        let start = self.0.find("://").map_or(0, |at| at + 3);
        self.0[start..].find('/').map_or("", |at| &self.0[start + at..])
    }

    /// The URL of an endpoint below the issuer; `path` begins with a slash.
    pub fn endpoint(&self, path: &str) -> String {
        format!("{}{path}", self.0)
    }
}

impl fmt::Display for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether the port, if there is a colon for one, is one that a server can have.
fn has_valid_port(uri: &Uri) -> bool {
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let after_host = authority.rsplit(']').next().unwrap_or_default();
    after_host.split_once(':').is_none_or(|(_, port)| port.parse::<u16>().is_ok_and(|number| number > 0))
}

/// Whether `host` is `localhost` or an address of loopback.
fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_is_https_or_on_loopback() {
        for valid in [
            "https://auth.example.com",
            "https://auth.example.com:8443",
            "https://auth.example.com/sso/v1.0",
            "https://10.0.0.1",
            "http://127.0.0.1:8080",
            "http://127.8.8.8",
            "http://[::1]:8080",
            "http://localhost/a",
            "https://a.example:443/Sso",
            "https://[2001:db8::1]",
        ] {
            assert_eq!(Issuer::parse(valid).unwrap().as_str(), valid);
        }
        for invalid in [
            "",
            "auth.example.com",
            "//a",
            "https://",
            "ftp://a",
            "http://auth.example.com",
            "http://10.0.0.1",
            "http://localhost.evil.example",
            "http://127.0.0.1.evil.example",
            "http://[::2]",
            "https://a?b",
            "https://a#b",
            "https://a@b",
            "https://a/",
            "https://a/b/",
            "https://a//b",
            "https://a/../b",
            "https://a/%62",
            "https://a/b;c",
            "https://a/\u{e9}",
            "https://a b",
            "https://a:0",
            "https://a:",
            "https://a:99999",
            "http://[::1]:0",
            "HTTPS://a",
            "https://A.example",
            "https://a..example",
            "https://.",
        ] {
            let error = Issuer::parse(invalid).unwrap_err();
            assert!(error.contains("https://auth.example.com") && error.contains(invalid), "{error}");
        }
    }

    #[test]
    fn endpoints_are_below_the_issuer() {
        for (issuer, path) in
            [("https://a.example", ""), ("https://a.example/b/c", "/b/c"), ("http://[::1]:80/x", "/x")]
        {
            let parsed = Issuer::parse(issuer).unwrap();
            assert_eq!(parsed.path(), path);
            assert_eq!(parsed.endpoint("/oauth2/jwks"), format!("{issuer}/oauth2/jwks"));
        }
    }
}
