//! A request body under any content type: `Fields::from_body`. The first line of the input is the content type. The
//! fields that are read from it are encoded again in each format and charset, and must be read as the same fields under
//! each content type.
#![no_main]

use encoding_rs::GB18030;
use libfuzzer_sys::fuzz_target;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use stele_dialect::{FieldError, Fields};

const BOUNDARY: &str = "boundary-that-no-value-has";

type FieldPairs = Vec<(String, String)>;

fn parse_body(content_type: &str, body: impl AsRef<[u8]>) -> Result<Fields, FieldError> {
    Fields::from_body(Some(content_type), body.as_ref())
}

/// The text fields, in order.
fn text_fields(fields: &Fields) -> FieldPairs {
    fields.text_fields().map(|(name, value)| (name, value.as_str().expect("a text field").to_owned())).collect()
}

fn encode_json(pairs: &FieldPairs) -> String {
    let quote = |text: &str| serde_json::Value::from(text).to_string();
    let members: Vec<_> = pairs.iter().map(|(name, value)| format!("{}:{}", quote(name), quote(value))).collect();
    format!("{{{}}}", members.join(","))
}

fn encode_form(pairs: &FieldPairs) -> String {
    let escape = |text| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let pairs: Vec<_> = pairs.iter().map(|(name, value)| format!("{}={}", escape(name), escape(value))).collect();
    pairs.join("&")
}

/// `None` without fields, or if a name needs escaping, which clients do in different ways.
fn encode_multipart(pairs: &FieldPairs) -> Option<String> {
    let is_plain = |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let is_encodable = pairs.iter().all(|(name, value)| is_plain(name) && !value.contains(BOUNDARY));
    let encode_part = |(name, value): &(String, String)| {
        format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let parts = || pairs.iter().map(encode_part).collect::<String>();
    (is_encodable && !pairs.is_empty()).then(|| format!("{}--{BOUNDARY}--\r\n", parts()))
}

fuzz_target!(|data: &[u8]| {
    let end = data.iter().position(|&byte| byte == b'\n').unwrap_or(data.len());
    let content_type = String::from_utf8_lossy(&data[..end]);
    let body = data.get(end + 1..).unwrap_or_default();
    let Ok(mut fields) = parse_body(&content_type, body) else { return };
    // Each error of reading a field names that field.
    for name in ["username", "password", "timestamp", "app_name", "encrypt", "code", "token"] {
        if let Err(error) = fields.required(name) {
            assert_eq!(error.field_name(), Some(name));
        }
    }
    let pairs = text_fields(&fields);
    let assert_same_fields = |content_type: &str, body: &[u8]| {
        let fields = parse_body(content_type, body).expect("fields that were read before");
        assert_eq!(text_fields(&fields), pairs, "{content_type}");
    };
    // `plain` is encoded in the charset of the body, `forms` is percent-encoded.
    let mut plain = vec![encode_json(&pairs), format!("\u{feff}{}\0\0", encode_json(&pairs))];
    plain.extend(encode_multipart(&pairs));
    let mut forms = vec![utf8_percent_encode(&encode_json(&pairs), NON_ALPHANUMERIC).to_string() + "="];
    // A form whose first name starts with a brace is read as JSON.
    if !pairs.is_empty() && !pairs[0].0.starts_with('{') {
        forms.push(encode_form(&pairs));
    }
    for body in plain.iter().chain(&forms) {
        for content_type in
            ["application/json", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]
        {
            assert_same_fields(content_type, body.as_bytes());
        }
        assert_same_fields(&format!("multipart/mixed; boundary=\"{BOUNDARY}\""), body.as_bytes());
    }
    for text in plain.iter().filter(|text| !text.starts_with('\u{feff}')) {
        let (gb18030, ..) = GB18030.encode(text);
        // Some private-use characters are not decoded to themselves.
        if GB18030.decode_without_bom_handling_and_without_replacement(&gb18030).is_some_and(|decoded| decoded == *text)
        {
            assert_same_fields("text/plain; charset=GBK", &gb18030);
        }
    }
    // The body takes precedence over any query.
    fields.add_query(&String::from_utf8_lossy(body));
    assert_eq!(text_fields(&fields)[..pairs.len()], pairs);
});
