//! Requests to old servers, their responses, and what a dialect makes of them.

use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use serde_json::{Map, Value};
use stele_core::old_server::{OldProfile, OldQuestion};
use stele_core::user::Gender;
use zeroize::Zeroizing;

/// A request, without the address of the server. It contains a password or a token, so it is never printed.
pub(crate) struct OutboundRequest {
    pub(crate) method: Method,
    /// The path below the configured URL, without a slash at the start.
    pub(crate) path: &'static str,
    pub(crate) headers: Vec<(&'static str, Zeroizing<String>)>,
    pub(crate) body: Zeroizing<Vec<u8>>,
}

impl OutboundRequest {
    pub(crate) fn post(path: &'static str, content_type: &str, body: Zeroizing<Vec<u8>>) -> Self {
        let headers = vec![("Content-Type", Zeroizing::new(content_type.to_owned()))];
        Self { method: Method::POST, path, headers, body }
    }

    pub(crate) fn json(path: &'static str, body: &str) -> Self {
        Self::post(path, "application/json", Zeroizing::new(body.as_bytes().to_vec()))
    }

    /// A form of these fields, percent-encoded.
    pub(crate) fn form(path: &'static str, fields: &[(&str, &str)]) -> Self {
        let mut body = Zeroizing::new(String::new());
        for (name, value) in fields {
            let separator = if body.is_empty() { "" } else { "&" };
            let encoded = percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC);
            body.push_str(&format!("{separator}{name}={encoded}"));
        }
        Self::post(path, "application/x-www-form-urlencoded", Zeroizing::new(body.as_bytes().to_vec()))
    }

    pub(crate) fn without_body(method: Method, path: &'static str) -> Self {
        Self { method, path, headers: Vec::new(), body: Zeroizing::default() }
    }

    pub(crate) fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, Zeroizing::new(value.into())));
        self
    }
}

/// A response with its whole body.
pub(crate) struct Response {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// The body as a JSON object. A byte order mark before it is skipped.
    pub(crate) fn json(&self) -> Option<Map<String, Value>> {
        let text = self.body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&self.body);
        serde_json::from_slice(text).ok()
    }
}

/// What a response says.
pub(crate) enum Reply {
    /// The proof is right.
    Yes {
        profile: Box<OldProfile>,
        /// The request that ends the session which the login has opened; `None` if there is no session to end.
        logout: Option<OutboundRequest>,
    },
    /// The proof is wrong, or the server does not know the user.
    No,
    /// The server demands a captcha or a code, which only the user can answer.
    Challenge,
    /// The server refuses to answer, now or to us. The text is for the log, without secrets and identifiers.
    Refused(String),
    /// The response is none that the document describes. The text is as for [`Reply::Refused`].
    Malformed(String),
}

/// The API of an old server.
pub(crate) trait OldDialect: Send + Sync {
    /// The request of a login; `None` if this server does not check this kind of proof.
    fn login_request(&self, question: &OldQuestion) -> Option<OutboundRequest>;

    /// Reads the response to [`OldDialect::login_request`], whose status is neither a redirect, nor 408, nor 429, nor 5xx.
    fn read_login(&self, question: &OldQuestion, response: &Response) -> Reply;
}

/// A field as text: a string without white space around it, or a number in decimal digits. `None` if it is missing, empty
/// or anything else.
pub(crate) fn text(object: &Map<String, Value>, field: &str) -> Option<String> {
    let text = match object.get(field)? {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    (!text.is_empty()).then_some(text)
}

/// As [`text`]; empty if there is none.
pub(crate) fn text_or_empty(object: &Map<String, Value>, field: &str) -> String {
    text(object, field).unwrap_or_default()
}

/// `男` or `女`.
pub(crate) fn gender(object: &Map<String, Value>, field: &str) -> Option<Gender> {
    Gender::parse(&text(object, field)?)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A response with this body.
    pub(crate) fn response(status: u16, body: &str) -> Response {
        let status = StatusCode::from_u16(status).unwrap();
        Response { status, headers: HeaderMap::new(), body: body.as_bytes().to_vec() }
    }

    /// A request as text.
    pub(crate) fn to_text(request: &OutboundRequest) -> String {
        let headers: String =
            request.headers.iter().map(|(name, value)| format!("{name}: {}\n", value.as_str())).collect();
        let body = String::from_utf8(request.body.to_vec()).unwrap();
        format!("{} {}\n{headers}\n{body}", request.method, request.path)
    }

    #[test]
    fn fields_are_strings_or_numbers() {
        let object = response(200, r#"{"a":" x ","b":4,"c":"","d":null,"e":{},"f":true}"#).json().unwrap();
        let fields = ["a", "b", "c", "d", "e", "f", "g"].map(|field| text(&object, field));
        assert_eq!(fields[..2], [Some("x".to_owned()), Some("4".to_owned())]);
        assert!(fields[2..].iter().all(Option::is_none));
    }
}
