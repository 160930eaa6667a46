//! Which web pages may call the services from a browser.

use hyper::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderValue, ORIGIN, VARY,
};
use hyper::{HeaderMap, Method, StatusCode};
use stele_service::origins::AllowedOrigins;

use crate::answer::Answer;
use crate::headers::is_token_of;

/// What the documented requests carry.
const ALLOWED_HEADERS: [&str; 4] = ["Authorization", "Content-Type", "token", "X-Requested-With"];

/// Says to browsers what `STELE_CORS_ORIGINS` allows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cors(pub(crate) AllowedOrigins);

impl Cors {
    /// The answer to a preflight, if that is what the request is.
    pub(crate) fn preflight(&self, method: &Method, headers: &HeaderMap) -> Option<Answer> {
        if self.0 == AllowedOrigins::None || method != Method::OPTIONS {
            return None;
        }
        let origin = headers.get(ORIGIN)?;
        headers.get(ACCESS_CONTROL_REQUEST_METHOD)?;
        let answer = Answer::new(StatusCode::NO_CONTENT);
        if self.grant(Some(origin)).is_none() {
            return Some(answer);
        }
        let answer = answer
            .with_static(ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, OPTIONS")
            .with_static(ACCESS_CONTROL_MAX_AGE, "600");
        let allowed = HeaderValue::try_from(allowed_headers(headers)).ok();
        allowed.map(|allowed| answer.with(ACCESS_CONTROL_ALLOW_HEADERS, allowed))
    }

    /// Says in the head of an answer whether the page of `origin`, which asked, may read it.
    pub(crate) fn mark(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
        if let AllowedOrigins::Listed(_) = self.0 {
            // Also where the origin is not allowed: the answer would have been another for one that is.
            headers.append(VARY, HeaderValue::from_static("Origin"));
        }
        let Some(origin) = self.grant(origin) else { return };
        if matches!(self.0, AllowedOrigins::Listed(_)) {
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        // The JWT dialect answers its token there.
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("Authorization"));
    }

    fn grant(&self, origin: Option<&HeaderValue>) -> Option<HeaderValue> {
        let origin = origin?;
        match &self.0 {
            AllowedOrigins::None => None,
            AllowedOrigins::Any => Some(HeaderValue::from_static("*")),
            listed @ AllowedOrigins::Listed(_) => listed.lists(origin.as_bytes()).then(|| origin.clone()),
        }
    }
}

fn allowed_headers(headers: &HeaderMap) -> String {
    let is_asked = |name: &&&str| is_token_of(headers, &ACCESS_CONTROL_REQUEST_HEADERS, name);
    ALLOWED_HEADERS.iter().filter(is_asked).copied().collect::<Vec<_>>().join(", ")
}
