//! A body under any content type: `Fields::from_body`. The first line of the input is the content type. What is read,
//! written anew in each of the four forms, is read as the same.
#![no_main]

use actix_web::web::Bytes;
use libfuzzer_sys::fuzz_target;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use stele_dialect::{Fault, Fields};

const BOUNDARY: &str = "a-line-that-no-value-has";

type Pairs = Vec<(String, String)>;

fn read(kind: Option<&str>, body: impl Into<Bytes>) -> Result<Fields, Fault> {
    futures_executor::block_on(Fields::from_body(kind, body.into()))
}

/// The fields that are texts.
fn pairs(fields: &Fields) -> Pairs {
    fields.texts().map(|(name, value)| (name, value.as_str().expect("a text").to_owned())).collect()
}

fn json(pairs: &Pairs) -> String {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let members: Vec<_> = pairs.iter().map(|(name, value)| format!("{}:{}", quoted(name), quoted(value))).collect();
    format!("{{{}}}", members.join(","))
}

fn urlencoded(pairs: &Pairs) -> String {
    let escaped = |text| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let pairs: Vec<_> = pairs.iter().map(|(name, value)| format!("{}={}", escaped(name), escaped(value))).collect();
    pairs.join("&")
}

/// `None` if there is nothing to write, or a name that would have to be escaped, for which clients have many ways.
fn multipart(pairs: &Pairs) -> Option<String> {
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
    let kind = std::str::from_utf8(&data[..end]).ok();
    let Ok(fields) = read(kind, data.get(end + 1..).unwrap_or_default().to_vec()) else { return };
    // Reading a field never fails in another way than by naming it.
    for name in ["username", "password", "timestamp", "app_name", "encrypt", "code", "token"] {
        if let Err(fault) = fields.required(name) {
            assert_eq!(fault.field(), Some(name));
        }
    }
    let pairs = pairs(&fields);
    let again = |kind: &str, body: String| {
        assert_eq!(self::pairs(&read(Some(kind), body).expect("fields that were read before")), pairs, "{kind}");
    };
    again("application/json", json(&pairs));
    again("text/plain", json(&pairs));
    again("application/x-www-form-urlencoded", urlencoded(&pairs));
    // Multipart's content type over an urlencoded body.
    again("multipart/form-data", urlencoded(&pairs));
    if let Some(body) = multipart(&pairs) {
        again(&format!("multipart/form-data; boundary={BOUNDARY}"), body.clone());
        again("multipart/form-data", body);
    }
});
