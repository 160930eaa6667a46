//! Examples out of golden transcripts: what a test has shown to be so, to the byte.

use serde_json::Value;

use crate::input::Fields;

/// A request and its answer.
#[derive(Debug)]
pub(super) struct Played {
    /// What was asked; `None` if it had no body.
    pub(super) request: Option<Value>,
    /// What was answered; `None` if that is not JSON.
    pub(super) answer: Option<Value>,
}

/// The first exchange in `transcript` that begins with `start` (such as `POST /i/login`) and was answered with 200.
pub(super) fn find(transcript: &str, start: &str) -> Option<Played> {
    let exchanges = transcript.split("\n=====\n").filter_map(|exchange| exchange.split_once("\n-----\n"));
    let (request, answer) = exchanges
        .filter(|(request, _)| request.strip_prefix(start).is_some_and(|rest| rest.starts_with(' ')))
        .find(|(_, answer)| answer.starts_with("HTTP/1.1 200 "))?;
    let body = |text: &str| text.split_once("\n\n").map(|(_, body)| body.trim().to_owned());
    let request = body(request).filter(|text| !text.is_empty());
    Some(Played {
        request: request.map(|text| serde_json::from_str(&text).unwrap_or_else(|_| form(&text))),
        answer: body(answer).and_then(|text| serde_json::from_str(&text).ok()),
    })
}

/// An urlencoded body as an object of texts.
fn form(text: &str) -> Value {
    Fields::from_urlencoded(text).map_or(Value::Null, |fields| fields.texts().collect())
}
