//! Which web pages may call the services from a browser.

use actix_web::http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderValue, ORIGIN, VARY,
};
use actix_web::http::{Method, Uri};
use actix_web::{HttpRequest, HttpResponse};

/// What the documented requests carry.
const ALLOWED_HEADERS: [&str; 4] = ["Authorization", "Content-Type", "token", "X-Requested-With"];

/// `STELE_CORS_ORIGINS`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Cors {
    /// No page of another origin.
    #[default]
    Off,
    /// Any page, without its user's cookies.
    Any,
    /// The pages of these origins, with cookies.
    Listed(Vec<String>),
}

impl Cors {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let origins: Vec<_> = text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
        match origins.as_slice() {
            [] => Ok(Self::Off),
            ["*"] => Ok(Self::Any),
            origins => origins.iter().map(|origin| parse_origin(origin)).collect::<Result<_, _>>().map(Self::Listed),
        }
    }

    /// The answer to a preflight, if that is what the request is.
    pub(crate) fn preflight(&self, request: &HttpRequest) -> Option<HttpResponse> {
        let headers = request.headers();
        let asks = request.method() == Method::OPTIONS
            && headers.contains_key(ORIGIN)
            && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        if *self == Self::Off || !asks {
            return None;
        }
        let mut answer = HttpResponse::NoContent().finish();
        if self.grant(headers).is_some() {
            let ours = answer.headers_mut();
            ours.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, OPTIONS"));
            ours.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
            if let Ok(allowed) = HeaderValue::from_str(&allowed_headers(headers)) {
                ours.insert(ACCESS_CONTROL_ALLOW_HEADERS, allowed);
            }
        }
        Some(answer)
    }

    /// Says in `answer` whether the page that asked may read it.
    pub(crate) fn mark(&self, request: &HeaderMap, answer: &mut HeaderMap) {
        if let Self::Listed(_) = self {
            // Also where the origin is not allowed: the answer would have been another for one that is.
            answer.append(VARY, HeaderValue::from_static("Origin"));
        }
        let Some(origin) = self.grant(request) else { return };
        if matches!(self, Self::Listed(_)) {
            answer.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        // The JWT dialect answers its token there.
        answer.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("Authorization"));
    }

    fn grant(&self, request: &HeaderMap) -> Option<HeaderValue> {
        let origin = request.get(ORIGIN)?;
        match self {
            Self::Off => None,
            Self::Any => Some(HeaderValue::from_static("*")),
            Self::Listed(origins) => origins.iter().any(|o| o.as_bytes() == origin.as_bytes()).then(|| origin.clone()),
        }
    }
}

fn allowed_headers(request: &HeaderMap) -> String {
    let asked = request.get_all(ACCESS_CONTROL_REQUEST_HEADERS).filter_map(|value| value.to_str().ok());
    let asked: Vec<_> = asked.flat_map(|value| value.split(',')).map(str::trim).collect();
    let allowed = ALLOWED_HEADERS.iter().filter(|name| asked.iter().any(|a| a.eq_ignore_ascii_case(name)));
    allowed.copied().collect::<Vec<_>>().join(", ")
}

/// An origin as browsers write it; anything else would never match.
fn parse_origin(text: &str) -> Result<String, String> {
    let uri = text.parse::<Uri>().ok().filter(|uri| uri.path() == "/" && uri.query().is_none() && !text.ends_with('/'));
    let whole = uri.is_some_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.authority().is_some());
    if !whole || text.contains(['@', '*', '#']) || text.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(format!(
            "`{text}` is not an origin; write for example https://app.example.com, or * alone for all"
        ));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_written_as_browsers_write_them() {
        assert_eq!(Cors::parse(" , "), Ok(Cors::Off));
        assert_eq!(Cors::parse("*"), Ok(Cors::Any));
        let listed = Cors::parse("https://a.example, http://localhost:3000").unwrap();
        assert_eq!(listed, Cors::Listed(vec!["https://a.example".into(), "http://localhost:3000".into()]));
        for bad in [
            "a.example",
            "https://a.example/",
            "https://a.example/x",
            "https://A.example",
            "https://*.example",
            "null",
            "*,https://a.example",
            "https://a.example?x",
            "ftp://a.example",
            "https://u@a.example",
            "https://a b",
        ] {
            assert!(Cors::parse(bad).is_err(), "{bad}");
        }
    }
}
