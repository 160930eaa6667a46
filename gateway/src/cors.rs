//! Which web pages may call the services from a browser.

use hyper::header::{HeaderName, HeaderValue, VARY};
use hyper::{HeaderMap, Method, StatusCode};
use stele_service::origins::{AllowedOrigins, CorsFields};

use crate::answer::Answer;
use crate::headers::{Fields, is_token_of};

/// Says to browsers what `STELE_CORS_ORIGINS` allows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cors(pub(crate) AllowedOrigins);

impl Cors {
    /// The answer to a preflight, if that is what the request is.
    pub(crate) fn preflight(&self, method: &Method, headers: &HeaderMap) -> Option<Answer> {
        let fields = self.0.preflight(&Fields(headers)).filter(|_| method == Method::OPTIONS)?;
        let mut answer = Answer::new(StatusCode::NO_CONTENT);
        append(&mut answer.headers, fields);
        Some(answer)
    }

    /// Says in the head of an answer whether the page of `origin`, which asked, may read it.
    pub(crate) fn mark(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
        append(headers, self.0.permissions(origin.map(HeaderValue::as_bytes)));
    }
}

fn append(headers: &mut HeaderMap, fields: CorsFields<'_>) {
    for (name, value) in fields {
        let name = HeaderName::from_static(name);
        // A service says the same of itself.
        if name == VARY && is_token_of(headers, &name, &value) {
            continue;
        }
        if let Ok(value) = HeaderValue::try_from(&*value) {
            headers.append(name, value);
        }
    }
}
