//! Which web pages are ours: for CORS, and against login CSRF where cookies are set or believed.

use std::borrow::Cow;

use actix_web::http::Uri;
use actix_web::http::header::{HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN};
use actix_web::http::uri::Authority;

use crate::headers::HeaderLookup;
use crate::http_server::is_token_byte;
use crate::setting::parsed;

crate::settings! {
    /// Pages of other origins.
    pub const SETTINGS = "STELE_";
    /// origins whose pages may call, with any header and with cookies; `null`, of pages without an origin (files, sandboxed
    /// frames), is never trusted with the portal's cookie; `*`: all, without cookies
    pub CORS_ORIGINS: AllowedOrigins = parsed(AllowedOrigins::parse, "`https://…` and `null` by commas, or `*`", "");
}

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// The origin of pages that have none: files, sandboxed frames, redirects. Any page can make a frame of that origin.
const OPAQUE_ORIGIN: &str = "null";
/// The names of headers that a preflight is answered, in bytes: more than any page asks for.
const MAX_ALLOW_HEADERS_BYTES: usize = 4 * 1024;

/// Header fields of an answer.
pub type CorsHeaders<'a> = Vec<(&'static str, Cow<'a, str>)>;

/// `STELE_CORS_ORIGINS`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AllowedOrigins {
    /// No page of another origin.
    #[default]
    None,
    /// Any page, without its user's cookies.
    Any,
    /// The pages of these origins, with cookies.
    Listed(Vec<String>),
}

impl AllowedOrigins {
    /// Reads origins, separated by commas, or `*`.
    ///
    /// # Errors
    /// What is wrong with the first that is none, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let origins: Vec<_> = text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
        match origins.as_slice() {
            [] => Ok(Self::None),
            ["*"] => Ok(Self::Any),
            origins => origins.iter().map(|origin| parse_origin(origin)).collect::<Result<_, _>>().map(Self::Listed),
        }
    }

    /// Whether this origin is listed by name, so that its pages may use cookies.
    pub fn is_listed(&self, origin: &[u8]) -> bool {
        matches!(self, Self::Listed(origins) if origins.iter().any(|known| known.as_bytes() == origin))
    }

    /// What the head of every answer says to the page of `origin` (Fetch, section 3.3.3): whether it may read the
    /// answer, with its user's cookies, and the token that the JWT dialect answers in `Authorization`.
    pub fn response_headers<'a>(&self, origin: Option<&'a [u8]>) -> CorsHeaders<'a> {
        let mut fields = CorsHeaders::new();
        let allowed = match self {
            Self::None => return fields,
            Self::Any => origin.map(|_| "*"),
            Self::Listed(_) => {
                // Also where the origin is not allowed: the answer would have been another for one that is.
                fields.push(("vary", Cow::Borrowed("Origin")));
                origin.filter(|origin| self.is_listed(origin)).and_then(|origin| std::str::from_utf8(origin).ok())
            }
        };
        let Some(allowed) = allowed else { return fields };
        if *self != Self::Any {
            fields.push(("access-control-allow-credentials", Cow::Borrowed("true")));
        }
        fields.push(("access-control-allow-origin", Cow::Borrowed(allowed)));
        fields.push(("access-control-expose-headers", Cow::Borrowed("Authorization")));
        fields
    }

    /// What the answer to a preflight says beside that: any header that is asked for may be sent. `None` if an `OPTIONS`
    /// with these headers is no preflight, or no page of another origin may call.
    pub fn preflight_headers(&self, headers: &impl HeaderLookup) -> Option<CorsHeaders<'static>> {
        headers.first_value("access-control-request-method").filter(|_| *self != Self::None)?;
        let origin = headers.first_value("origin")?;
        if !matches!(self, Self::Any) && !self.is_listed(origin) {
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

    /// Whether a request was made by a page of another site that is not listed. Such a page must neither log its visitor
    /// in (as somebody else) nor out, so no cookie is set or believed.
    ///
    /// `Sec-Fetch-Site` decides where a browser sends it (all since 2023, over HTTPS); else `Origin`, whose host must be
    /// the one that the client asked for. A client that sends neither is no browser, or an old one: it is believed.
    pub fn is_cross_site(&self, headers: &HeaderMap) -> bool {
        let origin = headers.get(ORIGIN);
        if origin.is_some_and(|origin| origin != OPAQUE_ORIGIN && self.is_listed(origin.as_bytes())) {
            return false;
        }
        match headers.get(SEC_FETCH_SITE).map(HeaderValue::as_bytes) {
            // `none`: typed in by the user, or opened from a bookmark.
            Some(b"same-origin" | b"same-site" | b"none") => false,
            Some(b"cross-site") => true,
            _ => origin.is_some_and(|origin| !is_same_host(origin, headers)),
        }
    }
}

/// The names of headers that a page wants to send, as it wrote them; what is no name is left out.
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

/// Whether an origin's host is that of the request, as it was sent or, behind a gateway, as that was sent. No page of
/// another site can send `X-Forwarded-Host`, so it needs no trust here. Cookies know no ports, nor does this.
fn is_same_host(origin: &HeaderValue, headers: &HeaderMap) -> bool {
    let Some(origin) = origin.to_str().ok().and_then(|text| text.split_once("://")).and_then(|(_, rest)| host_of(rest))
    else {
        return false;
    };
    let asked = headers.get_all(HOST).chain(headers.get_all(X_FORWARDED_HOST));
    let mut asked = asked.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    asked.any(|asked| host_of(asked.trim()).is_some_and(|asked| asked == origin))
}

fn host_of(authority: &str) -> Option<String> {
    Some(authority.parse::<Authority>().ok()?.host().to_ascii_lowercase())
}

/// An origin as browsers write it; anything else would never match.
fn parse_origin(text: &str) -> Result<String, String> {
    if text == OPAQUE_ORIGIN {
        return Ok(text.to_owned());
    }
    let uri = text.parse::<Uri>().ok().filter(|uri| uri.path() == "/" && uri.query().is_none() && !text.ends_with('/'));
    let whole = uri.is_some_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.authority().is_some());
    if !whole || text.contains(['@', '*', '#']) || text.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(format!(
            "`{text}` is not an origin; write for example https://app.example.com, null, or * alone for all"
        ));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_serialized_origins_are_accepted() {
        assert_eq!(AllowedOrigins::parse(" , "), Ok(AllowedOrigins::None));
        assert_eq!(AllowedOrigins::parse("*"), Ok(AllowedOrigins::Any));
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
        let preflight = |origin: &'static str, asked: &str| {
            let mut headers = HeaderMap::new();
            headers.append(ORIGIN, HeaderValue::from_static(origin));
            headers.append(HeaderName::from_static("access-control-request-method"), HeaderValue::from_static("POST"));
            let name = HeaderName::from_static("access-control-request-headers");
            headers.append(name, HeaderValue::from_str(asked).unwrap());
            let fields = origins.preflight_headers(&headers).unwrap();
            fields.into_iter().find(|(name, _)| *name == "access-control-allow-headers").map(|(_, names)| names)
        };
        for origin in ["null", "https://a.example"] {
            let names = preflight(origin, "traceparent, X-CSRF-Token,,a b, \"c\", d:e , TOKEN").unwrap();
            assert_eq!(names, "traceparent, X-CSRF-Token, TOKEN");
            assert_eq!(preflight(origin, " , ;"), None);
            let many = preflight(origin, &"x-some-header,".repeat(1_000)).unwrap();
            assert!(
                (MAX_ALLOW_HEADERS_BYTES / 2..=MAX_ALLOW_HEADERS_BYTES + 2).contains(&many.len()),
                "{}",
                many.len()
            );
        }
        assert_eq!(preflight("https://b.example", "token"), None);
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
        for fine in ["same-origin", "same-site", "none"] {
            assert!(!is_cross_site("", &[("sec-fetch-site", fine), ("origin", "https://else.example")]), "{fine}");
        }
        let evil = [("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")];
        assert!(is_cross_site("", &evil) && is_cross_site("*", &evil));
        assert!(is_cross_site("https://evil.example:8443,http://evil.example", &evil));
        assert!(!is_cross_site("https://evil.example", &evil));
        assert!(is_cross_site("", &evil[..1]));
    }

    #[test]
    fn origin_decides_where_sec_fetch_site_is_missing() {
        for fine in ["http://portal.example", "https://PORTAL.example:9", "http://portal.example:8080"] {
            assert!(!is_cross_site("", &[("origin", fine)]), "{fine}");
        }
        for evil in ["https://evil.example", "https://portal.example.evil.example", "null", "", "\u{e9}", "file://"] {
            assert!(is_cross_site("", &[("origin", evil)]), "{evil}");
        }
        let behind = [("origin", "https://public.example"), ("x-forwarded-host", "public.example")];
        assert!(!is_cross_site("", &behind));
        assert!(!is_cross_site("", &[]), "no browser");
    }
}
