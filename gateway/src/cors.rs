//! Which web pages may call the services from a browser.

use actix_web::http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use actix_web::http::{Method, StatusCode, Uri};
use stele_web::headers::Headers as _;

use crate::answer::Answer;
use crate::wire::fields::{Fields, put};
use crate::wire::request::Request;

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
    pub(crate) fn preflight(&self, request: &Request<'_>) -> Option<Answer> {
        if *self == Self::Off || request.method != Method::OPTIONS {
            return None;
        }
        let origin = request.fields.first(ORIGIN.as_str())?;
        request.fields.first(ACCESS_CONTROL_REQUEST_METHOD.as_str())?;
        let answer = Answer::new(StatusCode::NO_CONTENT);
        if self.grant(Some(origin)).is_none() {
            return Some(answer);
        }
        let answer = answer
            .with(ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, OPTIONS")
            .with(ACCESS_CONTROL_MAX_AGE, "600")
            .with(ACCESS_CONTROL_ALLOW_HEADERS, allowed_headers(&request.fields));
        Some(answer)
    }

    /// Says in the head of an answer whether the page of `origin`, which asked, may read it.
    pub(crate) fn mark(&self, origin: Option<&[u8]>, out: &mut Vec<u8>) {
        if let Self::Listed(_) = self {
            // Also where the origin is not allowed: the answer would have been another for one that is.
            put(out, VARY.as_str(), b"Origin");
        }
        let Some(origin) = self.grant(origin) else { return };
        if matches!(self, Self::Listed(_)) {
            put(out, ACCESS_CONTROL_ALLOW_CREDENTIALS.as_str(), b"true");
        }
        put(out, ACCESS_CONTROL_ALLOW_ORIGIN.as_str(), origin);
        // The JWT dialect answers its token there.
        put(out, ACCESS_CONTROL_EXPOSE_HEADERS.as_str(), b"Authorization");
    }

    fn grant<'a>(&self, origin: Option<&'a [u8]>) -> Option<&'a [u8]> {
        let origin = origin?;
        match self {
            Self::Off => None,
            Self::Any => Some(b"*"),
            Self::Listed(origins) => origins.iter().any(|known| known.as_bytes() == origin).then_some(origin),
        }
    }
}

fn allowed_headers(request: &Fields<'_>) -> String {
    let asked =
        request.all(ACCESS_CONTROL_REQUEST_HEADERS.as_str()).flat_map(|value| value.split(|&byte| byte == b','));
    let asked: Vec<_> = asked.map(<[u8]>::trim_ascii).collect();
    let is_asked = |name: &&&str| asked.iter().any(|asked| asked.eq_ignore_ascii_case(name.as_bytes()));
    ALLOWED_HEADERS.iter().filter(is_asked).copied().collect::<Vec<_>>().join(", ")
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
