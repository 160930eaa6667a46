//! CORS (cross-origin resource sharing): the origins whose pages may read responses in a browser; and protection
//! against login CSRF where cookies are set or accepted.

use std::borrow::Cow;

use actix_web::http::Uri;
use actix_web::http::header::{HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN};
use actix_web::http::uri::Authority;

use crate::headers::HeaderLookup;
use crate::http_server::is_token_byte;
use crate::setting::parsed;

crate::settings! {
    /// Web pages of other origins.
    pub const SETTINGS = "STELE_";
    /// CORS: origins whose pages may send requests, with any header and with cookies; `null` (pages without an origin:
    /// files, sandboxed frames) never gets the portal's cookie; `*`: every origin, without cookies
    pub CORS_ORIGINS: AllowedOrigins =
        parsed(AllowedOrigins::parse, "`https://…` or `null`, separated by commas; or `*`", "");
}

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// The opaque origin (files, sandboxed frames, redirects). Any page can create a frame with it.
const OPAQUE_ORIGIN: &str = "null";
/// The most bytes of header names in `Access-Control-Allow-Headers`, give or take a separator.
const MAX_ALLOW_HEADERS_BYTES: usize = 4 * 1024;

/// CORS header fields of a response: names in lower case, and values.
pub type CorsHeaders<'a> = Vec<(&'static str, Cow<'a, str>)>;

/// The value of `STELE_CORS_ORIGINS`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AllowedOrigins {
    /// No origin but the service's own.
    #[default]
    NoOrigin,
    /// Every origin, without cookies.
    AnyOrigin,
    /// These origins, with cookies.
    Listed(Vec<String>),
}

impl AllowedOrigins {
    /// Parses origins separated by commas, or `*`.
    ///
    /// # Errors
    /// Names the first invalid origin and the correct form.
    pub fn parse(text: &str) -> Result<Self, String> {
        let origins: Vec<_> = text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
        match origins.as_slice() {
            [] => Ok(Self::NoOrigin),
            ["*"] => Ok(Self::AnyOrigin),
            origins => origins.iter().map(|origin| parse_origin(origin)).collect::<Result<_, _>>().map(Self::Listed),
        }
    }

    /// Whether this origin is listed by name, which permits cookies.
    pub fn is_listed(&self, origin: &[u8]) -> bool {
        matches!(self, Self::Listed(origins) if origins.iter().any(|known| known.as_bytes() == origin))
    }

    /// CORS header fields of a response to a page of `origin` (Fetch, section 3.3.3). The fields permit the page to
    /// read the response and the token that the JWT dialect returns in `Authorization`; a listed origin may also send
    /// cookies.
    pub fn response_headers<'a>(&self, origin: Option<&'a [u8]>) -> CorsHeaders<'a> {
        let mut fields = CorsHeaders::new();
        let allowed = match self {
            Self::NoOrigin => return fields,
            Self::AnyOrigin => origin.map(|_| "*"),
            Self::Listed(_) => {
                // Also for origins that are not allowed: a cache must not give them the response to an allowed one.
                fields.push(("vary", Cow::Borrowed("Origin")));
                origin.filter(|origin| self.is_listed(origin)).and_then(|origin| std::str::from_utf8(origin).ok())
            }
        };
        let Some(allowed) = allowed else { return fields };
        if *self != Self::AnyOrigin {
            fields.push(("access-control-allow-credentials", Cow::Borrowed("true")));
        }
        fields.push(("access-control-allow-origin", Cow::Borrowed(allowed)));
        fields.push(("access-control-expose-headers", Cow::Borrowed("Authorization")));
        fields
    }

    /// Additional header fields of the response to a preflight request: every valid header name is allowed, up to 4
    /// KiB. Empty if the origin of the request is not allowed. `None` if the `OPTIONS` request with these headers is
    /// not a preflight, or no other origin is allowed.
    pub fn preflight_headers(&self, headers: &impl HeaderLookup) -> Option<CorsHeaders<'static>> {
        headers.first_value("access-control-request-method").filter(|_| *self != Self::NoOrigin)?;
        let origin = headers.first_value("origin")?;
        if !matches!(self, Self::AnyOrigin) && !self.is_listed(origin) {
            return Some(CorsHeaders::new());
        }
        let mut fields: CorsHeaders<'static> = vec![
            ("access-control-allow-methods", Cow::Borrowed("GET, POST, OPTIONS")),
            ("access-control-max-age", Cow::Borrowed("600")),
        ];
        let names = requested_header_names(headers);
        if !names.is_empty() {
            fields.push(("access-control-allow-headers", Cow::Owned(names)));
        }
        Some(fields)
    }

    /// Whether a page of another site sent the request and the page's origin is not listed. Such a page must not log
    /// the visitor in (as another user: login CSRF) or out, so no cookie is set or accepted.
    ///
    /// `Sec-Fetch-Site` decides if it has a known value (all browsers since 2023, over HTTPS); else the host of
    /// `Origin` must be the host of the request. A client that sends neither is not a browser, or is an old one, and is
    /// trusted.
    pub fn is_cross_site(&self, headers: &HeaderMap) -> bool {
        let origin = headers.get(ORIGIN);
        if origin.is_some_and(|origin| origin != OPAQUE_ORIGIN && self.is_listed(origin.as_bytes())) {
            return false;
        }
        match headers.get(SEC_FETCH_SITE).map(HeaderValue::as_bytes) {
            // `none`: the user typed the URL or opened a bookmark.
            Some(b"same-origin" | b"same-site" | b"none") => false,
            Some(b"cross-site") => true,
            _ => origin.is_some_and(|origin| !is_same_host(origin, headers)),
        }
    }
}

/// The header names in `Access-Control-Request-Headers`, as the page wrote them, without invalid ones.
fn requested_header_names(headers: &impl HeaderLookup) -> String {
    let values =
        headers.all_values("access-control-request-headers").filter_map(|value| std::str::from_utf8(value).ok());
    let mut names = String::new();
    for name in values.flat_map(|value| value.split(',')).map(str::trim) {
        if !name.is_empty() && name.bytes().all(is_token_byte) && names.len() + name.len() < MAX_ALLOW_HEADERS_BYTES {
            names.push_str(if names.is_empty() { "" } else { ", " });
            names.push_str(name);
        }
    }
    names
}

/// Whether the host of `origin` equals `Host` or `X-Forwarded-Host`. A page of another site cannot set
/// `X-Forwarded-Host`, so no trusted proxy is required. Ports are ignored, as cookies ignore them.
fn is_same_host(origin: &HeaderValue, headers: &HeaderMap) -> bool {
    let Some(origin_host) =
        origin.to_str().ok().and_then(|text| text.split_once("://")).and_then(|(_, authority)| parse_host(authority))
    else {
        return false;
    };
    let hosts = headers.get_all(HOST).chain(headers.get_all(X_FORWARDED_HOST));
    let mut hosts = hosts.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    hosts.any(|host| parse_host(host.trim()).is_some_and(|host| host == origin_host))
}

/// The host of `authority` in lower case, without the port.
fn parse_host(authority: &str) -> Option<String> {
    Some(authority.parse::<Authority>().ok()?.host().to_ascii_lowercase())
}

/// Parses an origin in the form that browsers send (RFC 6454, section 6.2), since another form would never match.
fn parse_origin(text: &str) -> Result<String, String> {
    if text == OPAQUE_ORIGIN {
        return Ok(text.to_owned());
    }
    let uri = text.parse::<Uri>().ok().filter(|uri| uri.path() == "/" && uri.query().is_none() && !text.ends_with('/'));
    let has_scheme_and_host =
        uri.is_some_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.authority().is_some());
    if !has_scheme_and_host || text.contains(['@', '*', '#']) || text.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(format!(
            "`{text}` is not an origin; write for example https://app.example.com, null, or only * for all origins"
        ));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_serialized_origins_are_accepted() {
        assert_eq!(AllowedOrigins::parse(" , "), Ok(AllowedOrigins::NoOrigin));
        assert_eq!(AllowedOrigins::parse("*"), Ok(AllowedOrigins::AnyOrigin));
        let listed = AllowedOrigins::parse("https://a.example, http://localhost:3000").unwrap();
        assert_eq!(listed, AllowedOrigins::Listed(vec!["https://a.example".into(), "http://localhost:3000".into()]));
        for bad in [
            "a.example",
            "https://a.example/",
            "https://a.example/x",
            "https://A.example",
            "https://*.example",
            "Null",
            "*,https://a.example",
            "https://a.example?x",
            "ftp://a.example",
            "https://u@a.example",
            "https://a b",
        ] {
            assert!(AllowedOrigins::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn preflight_echoes_valid_header_names_only() {
        let origins = AllowedOrigins::parse("null, https://a.example").unwrap();
        let allowed_header_names = |origin: &'static str, requested: &str| {
            let mut headers = HeaderMap::new();
            headers.append(ORIGIN, HeaderValue::from_static(origin));
            headers.append(HeaderName::from_static("access-control-request-method"), HeaderValue::from_static("POST"));
            let name = HeaderName::from_static("access-control-request-headers");
            headers.append(name, HeaderValue::from_str(requested).unwrap());
            let fields = origins.preflight_headers(&headers).unwrap();
            fields.into_iter().find(|(name, _)| *name == "access-control-allow-headers").map(|(_, names)| names)
        };
        for origin in ["null", "https://a.example"] {
            let names = allowed_header_names(origin, "traceparent, X-CSRF-Token,,a b, \"c\", d:e , TOKEN").unwrap();
            assert_eq!(names, "traceparent, X-CSRF-Token, TOKEN");
            assert_eq!(allowed_header_names(origin, " , ;"), None);
            let names = allowed_header_names(origin, &"x-some-header,".repeat(1_000)).unwrap();
            assert!(
                (MAX_ALLOW_HEADERS_BYTES / 2..=MAX_ALLOW_HEADERS_BYTES + 2).contains(&names.len()),
                "{}",
                names.len()
            );
        }
        assert_eq!(allowed_header_names("https://b.example", "token"), None);
        assert_eq!(origins.preflight_headers(&HeaderMap::new()), None);
    }

    #[test]
    fn a_listed_null_origin_gets_no_cookies() {
        assert!(is_cross_site("null", &[("origin", "null")]));
        assert!(is_cross_site("null", &[("origin", "null"), ("sec-fetch-site", "cross-site")]));
        assert!(!is_cross_site("null", &[("origin", "null"), ("sec-fetch-site", "same-origin")]));
    }

    fn is_cross_site(origins: &str, lines: &[(&'static str, &str)]) -> bool {
        let mut headers = HeaderMap::new();
        headers.append(HOST, HeaderValue::from_static("portal.example:8080"));
        for (name, value) in lines {
            headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        AllowedOrigins::parse(origins).unwrap().is_cross_site(&headers)
    }

    #[test]
    fn sec_fetch_site_decides_whether_a_request_is_cross_site() {
        for trusted in ["same-origin", "same-site", "none"] {
            assert!(
                !is_cross_site("", &[("sec-fetch-site", trusted), ("origin", "https://else.example")]),
                "{trusted}"
            );
        }
        let cross_site = [("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")];
        assert!(is_cross_site("", &cross_site) && is_cross_site("*", &cross_site));
        assert!(is_cross_site("https://evil.example:8443,http://evil.example", &cross_site));
        assert!(!is_cross_site("https://evil.example", &cross_site));
        assert!(is_cross_site("", &cross_site[..1]));
    }

    #[test]
    fn origin_decides_where_sec_fetch_site_is_missing() {
        for same_host in ["http://portal.example", "https://PORTAL.example:9", "http://portal.example:8080"] {
            assert!(!is_cross_site("", &[("origin", same_host)]), "{same_host}");
        }
        for foreign in ["https://evil.example", "https://portal.example.evil.example", "null", "", "\u{e9}", "file://"]
        {
            assert!(is_cross_site("", &[("origin", foreign)]), "{foreign}");
        }
        let behind_proxy = [("origin", "https://public.example"), ("x-forwarded-host", "public.example")];
        assert!(!is_cross_site("", &behind_proxy));
        assert!(!is_cross_site("", &[]), "not a browser");
    }
}
