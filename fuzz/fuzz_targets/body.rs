//! A body under any content type: `Fields::from_body`. The first line of the input is the content type. What is read is
//! read as the same when it is written in each of the forms, in each charset, under each content type.
#![no_main]

use encoding_rs::GB18030;
use libfuzzer_sys::fuzz_target;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use stele_dialect::{FieldError, Fields};

const BOUNDARY: &str = "a-line-that-no-value-has";

type FieldPairs = Vec<(String, String)>;

fn parse_body(kind: &str, body: impl AsRef<[u8]>) -> Result<Fields, FieldError> {
    Fields::from_body(Some(kind), body.as_ref())
}

/// The fields that are texts.
fn text_fields(fields: &Fields) -> FieldPairs {
    fields.text_fields().map(|(name, value)| (name, value.as_str().expect("a text").to_owned())).collect()
}

fn encode_json(pairs: &FieldPairs) -> String {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let members: Vec<_> = pairs.iter().map(|(name, value)| format!("{}:{}", quoted(name), quoted(value))).collect();
    format!("{{{}}}", members.join(","))
}

fn encode_form(pairs: &FieldPairs) -> String {
    let escaped = |text| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let pairs: Vec<_> = pairs.iter().map(|(name, value)| format!("{}={}", escaped(name), escaped(value))).collect();
    pairs.join("&")
}

/// `None` if there is nothing to write, or a name that would have to be escaped, for which clients have many ways.
fn encode_multipart(pairs: &FieldPairs) -> Option<String> {
    let plain = |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let writable = pairs.iter().all(|(name, value)| plain(name) && !value.contains(BOUNDARY));
    let part = |(name, value): &(String, String)| {
        format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let parts = || pairs.iter().map(part).collect::<String>();
    (writable && !pairs.is_empty()).then(|| format!("{}--{BOUNDARY}--\r\n", parts()))
}

fuzz_target!(|data: &[u8]| {
    let end = data.iter().position(|&byte| byte == b'\n').unwrap_or(data.len());
    let kind = String::from_utf8_lossy(&data[..end]);
    let body = data.get(end + 1..).unwrap_or_default();
    let Ok(mut fields) = parse_body(&kind, body) else { return };
    // Reading a field never fails in another way than by naming it.
    for name in ["username", "password", "timestamp", "app_name", "encrypt", "code", "token"] {
        if let Err(fault) = fields.required(name) {
            assert_eq!(fault.field_name(), Some(name));
        }
    }
    let pairs = text_fields(&fields);
    let again = |kind: &str, body: &[u8]| {
        assert_eq!(self::text_fields(&parse_body(kind, body).expect("fields that were read before")), pairs, "{kind}");
    };
    // In the charset of the whole, and in that behind percent-encoding.
    let mut plain = vec![encode_json(&pairs), format!("\u{feff}{}\0\0", encode_json(&pairs))];
    plain.extend(encode_multipart(&pairs));
    let mut forms = vec![utf8_percent_encode(&encode_json(&pairs), NON_ALPHANUMERIC).to_string() + "="];
    // A form whose first name begins with a brace is JSON.
    if !pairs.is_empty() && !pairs[0].0.starts_with('{') {
        forms.push(encode_form(&pairs));
    }
    for form in plain.iter().chain(&forms) {
        for kind in ["application/json", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"] {
            again(kind, form.as_bytes());
        }
        again(&format!("multipart/mixed; boundary=\"{BOUNDARY}\""), form.as_bytes());
    }
    for form in plain.iter().filter(|form| !form.starts_with('\u{feff}')) {
        let (gb18030, ..) = GB18030.encode(form);
        // Some characters for private use have no way back.
        if GB18030.decode_without_bom_handling_and_without_replacement(&gb18030).is_some_and(|back| back == *form) {
            again("text/plain; charset=GBK", &gb18030);
        }
    }
    // The body wins over the query, whatever the query is.
    fields.add_query(&String::from_utf8_lossy(body));
    assert_eq!(self::text_fields(&fields)[..pairs.len()], pairs);
});
