//! Request body parsing: valid and malformed bodies in every format.

#![expect(clippy::unwrap_used, reason = "a test's helpers may panic")]

mod charset;
mod hostile;
mod json;
mod multipart;

use encoding_rs::{Encoding, GBK};
use stele_dialect::{FieldError, Fields};

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json; charset=utf-8";
const MULTIPART: &str = "multipart/form-data; boundary=b";

fn parse_body(kind: &str, body: impl AsRef<[u8]>) -> Result<Fields, FieldError> {
    Fields::from_body(Some(kind).filter(|kind| !kind.is_empty()), body.as_ref())
}

/// The fields with text or number values.
fn text_fields(kind: &str, body: impl AsRef<[u8]>) -> Vec<(String, String)> {
    let body_text = String::from_utf8_lossy(body.as_ref()).into_owned();
    let fields = parse_body(kind, body).unwrap_or_else(|error| panic!("{kind} {body_text}: {error:?}"));
    fields.text_fields().map(|(name, value)| (name, value.as_str().unwrap().to_owned())).collect()
}

#[track_caller]
fn assert_fields(kind: &str, body: impl AsRef<[u8]>, expected: &[(&str, &str)]) {
    let body_text = String::from_utf8_lossy(body.as_ref()).into_owned();
    let found = text_fields(kind, body);
    let found: Vec<_> = found.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(found, expected, "{kind} {body_text}");
}

#[track_caller]
fn assert_malformed(kind: &str, body: impl AsRef<[u8]>) {
    let body_text = String::from_utf8_lossy(&body.as_ref()[..body.as_ref().len().min(60)]).into_owned();
    assert_eq!(parse_body(kind, body).unwrap_err(), FieldError::MalformedRequest, "{kind} {body_text}");
}

#[test]
fn one_login_is_read_from_every_body_format() {
    let login = [("account", "a"), ("password", "密码 +&")];
    let parts = "--b\r\nContent-Disposition: form-data; name=\"account\"\r\n\r\na\r\n--b\r\n\
                 Content-Disposition: form-data; name=\"password\"\r\n\r\n密码 +&\r\n--b--\r\n";
    let encoded = "account=a&password=%E5%AF%86%E7%A0%81+%2B%26";
    let json = r#"{"account":"a","password":"密码 +&"}"#;
    // The bytes decide the format: jQuery 1.x declares multipart for a form, and other clients send other wrong types.
    for kind in
        ["", JSON, "APPLICATION/JSON", "text/plain", FORM, "multipart/form-data", MULTIPART, "multipart/mixed", "é"]
    {
        for body in [parts, encoded, json] {
            assert_fields(kind, body, &login);
        }
    }
}

fn encode(charset: &'static Encoding, text: &str) -> Vec<u8> {
    charset.encode(text).0.into_owned()
}

#[test]
fn whitespace_around_and_nuls_after_a_body_are_ignored() {
    for kind in ["", JSON, FORM] {
        for body in ["{\"a\":1}", "a=1"] {
            for tail in ["\0", "\0\0\0", " \r\n", "\n\0 \0"] {
                assert_fields(kind, format!("\r\n {body}{tail}"), &[("a", "1")]);
            }
        }
    }
    assert_malformed(JSON, "{\"a\":1}\0x");
    assert_malformed(JSON, "\0{\"a\":1}");
}

#[test]
fn field_names_are_case_insensitive() {
    let fields =
        parse_body(JSON, r#"{"UserName":"a","PASSWORD":"x","password":"y","Code":"1","CODE":"2","tImE":3}"#).unwrap();
    assert_eq!(fields.required("username"), Ok("a"));
    assert_eq!(fields.required("password"), Ok("y"), "an exact match wins");
    assert_eq!(fields.required("code"), Err(FieldError::Duplicate("code".into())));
    assert_eq!(fields.required("time"), Ok("3"));
    let same = parse_body(FORM, "Code=1&CODE=1").unwrap();
    assert_eq!(same.required("code"), Ok("1"));
}

#[test]
fn a_repeated_field_with_different_values_is_rejected() {
    let build_parts = |values: [&str; 2]| {
        let build_part = |value: &str| format!("--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n{value}\r\n");
        format!("{}{}--b--\r\n", build_part(values[0]), build_part(values[1]))
    };
    for (kind, body) in [(JSON, r#"{"a":1,"a":"1"}"#), (FORM, "a=1&a=%31"), (MULTIPART, &build_parts(["1", "1"]))] {
        assert_fields(kind, body, &[("a", "1")]);
    }
    for (kind, body) in [
        (JSON, r#"{"a":1,"b":{"a":1},"a":2,"c":[1]}"#),
        (JSON, r#"{"a":1,"a":null}"#),
        (FORM, "a=1&b=2&a=3"),
        (FORM, "a=1&a="),
        (MULTIPART, &build_parts(["1", "2"])),
    ] {
        assert_eq!(parse_body(kind, body).unwrap_err(), FieldError::Duplicate("a".into()), "{kind} {body}");
    }
    assert_malformed(JSON, r#"{"a":1,"a":2,"#);
}

#[test]
fn body_fields_take_precedence_over_query_fields() {
    let parse_with_query = |body: &str, query: &str| {
        let mut fields = parse_body(JSON, body).unwrap();
        fields.add_query(query);
        fields
    };
    let fields = parse_with_query(r#"{"a":"1","B":"2"}"#, "a=x&A=x&a=y&b=x&c=%E5%BC%A0+3");
    assert_eq!([fields.required("a"), fields.required("b"), fields.required("c")], [Ok("1"), Ok("2"), Ok("张 3")]);
    assert_eq!(fields.len(), 3);
    let fields = parse_with_query("", "a=%D5%C5&b=%ff&c=1&c=2&d=1&d=1&%ff=1&D=2&_=");
    assert_eq!(fields.required("a"), Ok("张"));
    assert_eq!(fields.required_maybe_empty("b"), Err(FieldError::Invalid("b".into())));
    assert_eq!(fields.required_maybe_empty("c"), Err(FieldError::Duplicate("c".into())));
    assert_eq!(fields.required_maybe_empty("d"), Ok("1"));
    let many: String = (0..1_000).map(|n| format!("f{n}=1&")).collect();
    assert_eq!(parse_with_query(r#"{"a":"1"}"#, &many).len(), 64);
}

#[test]
fn malformed_bodies_are_rejected() {
    let many: String = (0..65).map(|n| format!("f{n}=1&")).collect();
    for body in ["[1]", "1", "\"text\"", "true", "{\"a\":", "{\"a\":1}x", "username"] {
        assert_malformed(JSON, body);
    }
    assert_malformed(FORM, many);
}

#[test]
fn an_empty_body_has_no_fields() {
    for kind in ["", FORM, "multipart/form-data", JSON] {
        for body in ["", " ", "\0", "null", "[]", "\"\"", "{}", "\u{feff}", " null\r\n"] {
            assert!(parse_body(kind, body).unwrap().is_empty(), "{kind} {body}");
        }
    }
}

#[test]
fn debug_output_shows_field_names_only() {
    let fields = parse_body(FORM, "password=hunter2").unwrap();
    assert_eq!(format!("{fields:?}"), r#"["password"]"#);
}
