//! Which web pages may call the services from a browser.

use actix_web::http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use actix_web::http::{Method, StatusCode};
use stele_service::headers::Headers as _;
use stele_service::origins::AllowedOrigins;

use crate::answer::Answer;
use crate::wire::fields::{Fields, put};
use crate::wire::request::Request;

/// What the documented requests carry.
const ALLOWED_HEADERS: [&str; 4] = ["Authorization", "Content-Type", "token", "X-Requested-With"];

/// Says to browsers what `STELE_CORS_ORIGINS` allows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cors(pub(crate) AllowedOrigins);

impl Cors {
    /// The answer to a preflight, if that is what the request is.
    pub(crate) fn preflight(&self, request: &Request<'_>) -> Option<Answer> {
        if self.0 == AllowedOrigins::None || request.method != Method::OPTIONS {
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
        if let AllowedOrigins::Listed(_) = self.0 {
            // Also where the origin is not allowed: the answer would have been another for one that is.
            put(out, VARY.as_str(), b"Origin");
        }
        let Some(origin) = self.grant(origin) else { return };
        if matches!(self.0, AllowedOrigins::Listed(_)) {
            put(out, ACCESS_CONTROL_ALLOW_CREDENTIALS.as_str(), b"true");
        }
        put(out, ACCESS_CONTROL_ALLOW_ORIGIN.as_str(), origin);
        // The JWT dialect answers its token there.
        put(out, ACCESS_CONTROL_EXPOSE_HEADERS.as_str(), b"Authorization");
    }

    fn grant<'a>(&self, origin: Option<&'a [u8]>) -> Option<&'a [u8]> {
        let origin = origin?;
        match &self.0 {
            AllowedOrigins::None => None,
            AllowedOrigins::Any => Some(b"*"),
            listed @ AllowedOrigins::Listed(_) => listed.lists(origin).then_some(origin),
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
