//! Bodies in all their forms, good and bad.

#![expect(clippy::unwrap_used, reason = "a test's helpers may panic")]

mod charset;
mod hostile;
mod json;
mod multipart;

use encoding_rs::{Encoding, GBK};
use stele_dialect::{Fault, Fields};

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json; charset=utf-8";
const PARTS: &str = "multipart/form-data; boundary=b";

fn read(kind: &str, body: impl AsRef<[u8]>) -> Result<Fields, Fault> {
    Fields::from_body(Some(kind).filter(|kind| !kind.is_empty()), body.as_ref())
}

/// The fields that are texts.
fn texts(kind: &str, body: impl AsRef<[u8]>) -> Vec<(String, String)> {
    let shown = String::from_utf8_lossy(body.as_ref()).into_owned();
    let fields = read(kind, body).unwrap_or_else(|fault| panic!("{kind} {shown}: {fault:?}"));
    fields.texts().map(|(name, value)| (name, value.as_str().unwrap().to_owned())).collect()
}

#[track_caller]
fn holds(kind: &str, body: impl AsRef<[u8]>, expected: &[(&str, &str)]) {
    let shown = String::from_utf8_lossy(body.as_ref()).into_owned();
    let found = texts(kind, body);
    let found: Vec<_> = found.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(found, expected, "{kind} {shown}");
}

#[track_caller]
fn unreadable(kind: &str, body: impl AsRef<[u8]>) {
    let shown = String::from_utf8_lossy(&body.as_ref()[..body.as_ref().len().min(60)]).into_owned();
    assert_eq!(read(kind, body).unwrap_err(), Fault::Unreadable, "{kind} {shown}");
}

#[test]
fn one_login_in_every_form() {
    let login = [("account", "a"), ("password", "密码 +&")];
    let parts = "--b\r\nContent-Disposition: form-data; name=\"account\"\r\n\r\na\r\n--b\r\n\
                 Content-Disposition: form-data; name=\"password\"\r\n\r\n密码 +&\r\n--b--\r\n";
    let encoded = "account=a&password=%E5%AF%86%E7%A0%81+%2B%26";
    let json = r#"{"account":"a","password":"密码 +&"}"#;
    // By what the bytes are: jQuery 1.x has multipart's content type over a form, others have whatever was there.
    for kind in ["", JSON, "APPLICATION/JSON", "text/plain", FORM, "multipart/form-data", PARTS, "multipart/mixed", "é"]
    {
        for body in [parts, encoded, json] {
            holds(kind, body, &login);
        }
    }
}

fn encoded(charset: &'static Encoding, text: &str) -> Vec<u8> {
    charset.encode(text).0.into_owned()
}

#[test]
fn nuls_and_white_space_around_a_body_are_ignored() {
    for kind in ["", JSON, FORM] {
        for body in ["{\"a\":1}", "a=1"] {
            for tail in ["\0", "\0\0\0", " \r\n", "\n\0 \0"] {
                holds(kind, format!("\r\n {body}{tail}"), &[("a", "1")]);
            }
        }
    }
    unreadable(JSON, "{\"a\":1}\0x");
    unreadable(JSON, "\0{\"a\":1}");
}

#[test]
fn names_match_without_letter_case() {
    let fields =
        read(JSON, r#"{"UserName":"a","PASSWORD":"x","password":"y","Code":"1","CODE":"2","tImE":3}"#).unwrap();
    assert_eq!(fields.required("username"), Ok("a"));
    assert_eq!(fields.required("password"), Ok("y"), "an exact match wins");
    assert_eq!(fields.required("code"), Err(Fault::Doubled("code".into())));
    assert_eq!(fields.required("time"), Ok("3"));
    let same = read(FORM, "Code=1&CODE=1").unwrap();
    assert_eq!(same.required("code"), Ok("1"));
}

#[test]
fn a_field_that_is_there_twice_has_one_value() {
    let parts = |values: [&str; 2]| {
        let part = |value: &str| format!("--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n{value}\r\n");
        format!("{}{}--b--\r\n", part(values[0]), part(values[1]))
    };
    for (kind, body) in [(JSON, r#"{"a":1,"a":"1"}"#), (FORM, "a=1&a=%31"), (PARTS, &parts(["1", "1"]))] {
        holds(kind, body, &[("a", "1")]);
    }
    for (kind, body) in [
        (JSON, r#"{"a":1,"b":{"a":1},"a":2,"c":[1]}"#),
        (JSON, r#"{"a":1,"a":null}"#),
        (FORM, "a=1&b=2&a=3"),
        (FORM, "a=1&a="),
        (PARTS, &parts(["1", "2"])),
    ] {
        assert_eq!(read(kind, body).unwrap_err(), Fault::Doubled("a".into()), "{kind} {body}");
    }
    unreadable(JSON, r#"{"a":1,"a":2,"#);
}

#[test]
fn the_body_wins_over_the_query() {
    let read = |body: &str, query: &str| {
        let mut fields = read(JSON, body).unwrap();
        fields.add_query(query);
        fields
    };
    let fields = read(r#"{"a":"1","B":"2"}"#, "a=x&A=x&a=y&b=x&c=%E5%BC%A0+3");
    assert_eq!([fields.required("a"), fields.required("b"), fields.required("c")], [Ok("1"), Ok("2"), Ok("张 3")]);
    assert_eq!(fields.len(), 3);
    let fields = read("", "a=%D5%C5&b=%ff&c=1&c=2&d=1&d=1&%ff=1&D=2&_=");
    assert_eq!(fields.required("a"), Ok("张"));
    assert_eq!(fields.present("b"), Err(Fault::Invalid("b".into())));
    assert_eq!(fields.present("c"), Err(Fault::Doubled("c".into())));
    assert_eq!(fields.present("d"), Ok("1"));
    let many: String = (0..1_000).map(|n| format!("f{n}=1&")).collect();
    assert_eq!(read(r#"{"a":"1"}"#, &many).len(), 64);
}

#[test]
fn what_cannot_be_read_is_unreadable() {
    let many: String = (0..65).map(|n| format!("f{n}=1&")).collect();
    for body in ["[1]", "1", "\"text\"", "true", "{\"a\":", "{\"a\":1}x", "username"] {
        unreadable(JSON, body);
    }
    unreadable(FORM, many);
}

#[test]
fn nothing_has_no_fields() {
    for kind in ["", FORM, "multipart/form-data", JSON] {
        for body in ["", " ", "\0", "null", "[]", "\"\"", "{}", "\u{feff}", " null\r\n"] {
            assert!(read(kind, body).unwrap().is_empty(), "{kind} {body}");
        }
    }
}

#[test]
fn fields_print_their_names_only() {
    let fields = read(FORM, "password=hunter2").unwrap();
    assert_eq!(format!("{fields:?}"), r#"["password"]"#);
}
