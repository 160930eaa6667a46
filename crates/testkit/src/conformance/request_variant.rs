//! A request body as one kind of old client sends it, with encoders of JSON and multipart.

use super::DialectUnderTest;
use crate::TestResponse;

/// Names and values of a call's fields.
pub(super) type FieldPairs<'a> = &'a [(&'a str, &'a str)];

/// A request as one kind of client sends it.
pub(super) struct RequestVariant {
    query: String,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl RequestVariant {
    pub(super) fn new(content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let headers =
            if content_type.is_empty() { Vec::new() } else { vec![("content-type", content_type.to_owned())] };
        Self { query: String::new(), headers, body: body.into() }
    }

    pub(super) fn with_header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    pub(super) fn with_query(mut self, query: &str) -> Self {
        self.query = format!("?{query}");
        self
    }

    pub(super) async fn send<D: DialectUnderTest>(&self, app: &D, path: &str) -> TestResponse {
        let request = app.add_credentials(app.request("POST", &format!("{path}{}", self.query)));
        let request = self.headers.iter().fold(request, |request, (name, value)| request.header(*name, value));
        app.decode_response(app.send(request.body(self.body.clone())).await)
    }

    pub(super) fn describe(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        format!("{} {:?} {:?}", self.query, self.headers, text.chars().take(200).collect::<String>())
    }
}

pub(super) fn encode_json(fields: FieldPairs<'_>) -> String {
    let pairs: Vec<_> = fields.iter().map(|(name, value)| format!("{name:?}:{}", encode_json_string(value))).collect();
    format!("{{{}}}", pairs.join(","))
}

pub(super) fn encode_json_string(value: &str) -> String {
    serde_json::Value::from(value).to_string()
}

pub(super) fn encode_multipart(fields: FieldPairs<'_>) -> String {
    let encode_part = |(name, value): &(&str, &str)| {
        format!("--b\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    fields.iter().map(encode_part).collect::<String>() + "--b--\r\n"
}
