//! Requests as old servers read them: a form or JSON, in the body or the query.

use std::collections::HashMap;

use actix_web::{HttpRequest, web};
use serde_json::Value;

/// A request with its whole body.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    headers: HashMap<String, String>,
    fields: Fields,
}

/// The fields of a call, by name; of numbers, their digits.
#[derive(Debug)]
pub(crate) struct Fields(pub(crate) HashMap<String, String>);

impl Fields {
    /// A field, or empty if it is missing.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }
}

impl Request {
    pub(crate) fn read(request: &HttpRequest, body: &[u8]) -> Self {
        let headers: HashMap<_, _> = request
            .headers()
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        let mut fields = form_fields(request.query_string());
        fields.extend(body_fields(headers.get("content-type").map_or("", String::as_str), body));
        Self { method: request.method().to_string(), path: request.path().to_owned(), headers, fields: Fields(fields) }
    }

    /// The value of a header, or empty; `name` is lower-case.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// A field of the body or query.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.0.get(name).map(String::as_str)
    }

    /// As [`Request::field`]; empty if it is missing.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.fields.text(name)
    }

    /// The token in `Authorization`, with or without the scheme `Bearer`.
    pub(crate) fn token(&self) -> &str {
        let value = self.header("authorization");
        value.strip_prefix("Bearer ").unwrap_or(value)
    }

    /// The value of a cookie.
    pub(crate) fn cookie(&self, name: &str) -> Option<&str> {
        let pairs = self.header("cookie").split(';').filter_map(|pair| pair.trim().split_once('='));
        pairs.filter(|(found, _)| *found == name).map(|(_, value)| value).next()
    }
}

/// Decodes by what the bytes are, since clients send forms under other types; the JWT document's sample sends an
/// urlencoded body as `multipart/form-data`.
fn body_fields(content_type: &str, body: &[u8]) -> HashMap<String, String> {
    let text = String::from_utf8_lossy(body);
    let boundary = content_type.split_once("boundary=").map(|(_, boundary)| boundary.trim_matches('"'));
    if let Ok(Value::Object(object)) = serde_json::from_str(&text) {
        return json_fields(&object);
    }
    match boundary {
        Some(boundary) => multipart_fields(&text, boundary),
        None => form_fields(text.trim()),
    }
}

pub(crate) fn json_fields(object: &serde_json::Map<String, Value>) -> HashMap<String, String> {
    let text_of = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    };
    object.iter().filter_map(|(name, value)| Some((name.clone(), text_of(value)?))).collect()
}

fn form_fields(text: &str) -> HashMap<String, String> {
    let pairs = web::Query::<Vec<(String, String)>>::from_query(text);
    pairs.map(|pairs| pairs.into_inner().into_iter().collect()).unwrap_or_default()
}

fn multipart_fields(text: &str, boundary: &str) -> HashMap<String, String> {
    let delimiter = format!("--{boundary}");
    let parts = text.split(delimiter.as_str()).filter_map(|part| part.split_once("\r\n\r\n"));
    let field = |(head, value): (&str, &str)| {
        let (_, name) = head.split_once(" name=")?;
        let name =
            name.strip_prefix('"').map_or_else(|| name.split([';', '\r']).next(), |quoted| quoted.split('"').next());
        Some((name?.to_owned(), value.strip_suffix("\r\n").unwrap_or(value).to_owned()))
    };
    parts.filter_map(field).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_fields(content_type: &str, body: &str, expected: &[(&str, &str)]) {
        let expected = expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        assert_eq!(body_fields(content_type, body.as_bytes()), expected);
    }

    #[test]
    fn bodies_are_read_by_what_they_are() {
        let expected = [("account", "a b"), ("password", "1=&2")];
        assert_fields("application/json", r#"{"account":"a b","password":"1=&2"}"#, &expected);
        assert_fields("application/x-www-form-urlencoded", "account=a+b&password=1%3D%262", &expected);
        assert_fields("multipart/form-data", "account=a%20b&password=1%3D%262", &expected);
        let multipart = "--x1\r\nContent-Disposition: form-data; name=\"account\"\r\n\r\na b\r\n--x1\r\n\
                         Content-Disposition: form-data; name=password\r\n\r\n1=&2\r\n--x1--\r\n";
        assert_fields("multipart/form-data; boundary=x1", multipart, &expected);
        assert_fields("application/json", r#"{"timestamp":1511839692,"a":null}"#, &[("timestamp", "1511839692")]);
    }
}
