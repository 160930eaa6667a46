//! Bodies in all their forms, good and bad.

#![expect(clippy::unwrap_used, reason = "a test's helpers may panic")]

use actix_web::web::Bytes;
use proptest::prelude::*;
use stele_dialect::{Fault, Fields};

fn read(kind: Option<&str>, body: impl Into<Vec<u8>>) -> Result<Fields, Fault> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(Fields::from_body(kind, Bytes::from(body.into())))
}

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json; charset=utf-8";

#[test]
fn one_login_in_every_form() {
    let multipart = "--b\r\nContent-Disposition: form-data; name=\"account\"\r\n\r\na\r\n--b\r\n\
                     Content-Disposition: form-data; name=\"password\"\r\n\r\n密码 +&\r\n--b--\r\n";
    let encoded = "account=a&password=%E5%AF%86%E7%A0%81+%2B%26";
    let json = r#"{"account":"a","password":"密码 +&"}"#;
    let forms: [(Option<&str>, &str); 10] = [
        (Some(JSON), json),
        (Some("APPLICATION/JSON"), json),
        (Some("text/plain"), json),
        (Some(FORM), json),
        (None, json),
        (Some(FORM), encoded),
        (None, encoded),
        // jQuery 1.x with contentType "multipart/form-data": neither a boundary nor parts.
        (Some("multipart/form-data"), encoded),
        (Some("multipart/form-data; boundary=b"), multipart),
        (Some("multipart/form-data"), multipart),
    ];
    for (kind, body) in forms {
        let fields = read(kind, body).unwrap_or_else(|fault| panic!("{kind:?} {body}: {fault:?}"));
        assert_eq!(fields.required("account"), Ok("a"), "{kind:?} {body}");
        assert_eq!(fields.required("password"), Ok("密码 +&"), "{kind:?} {body}");
    }
}

#[test]
fn numbers_and_strings_are_the_same() {
    let fields = read(Some(JSON), r#"{"a":1511839692,"b":"1511839692","c":null,"d":"","e":1e3,"f":-1}"#).unwrap();
    assert_eq!(fields.required("a"), fields.required("b"));
    assert_eq!(fields.optional("c"), Ok(None));
    assert_eq!(fields.required("c"), Err(Fault::Missing("c".into())));
    assert_eq!(fields.required("d"), Err(Fault::Missing("d".into())));
    assert_ne!(fields.required("e"), Ok("1000"), "a float is no whole number");
    assert_eq!(fields.required("f"), Ok("-1"));
}

#[test]
fn wrong_types_are_named() {
    for value in ["true", "[]", "{}", r#"["a"]"#, r#"{"x":1}"#] {
        let fields = read(Some(JSON), format!(r#"{{"a":{value}}}"#)).unwrap();
        assert_eq!(fields.required("a"), Err(Fault::Invalid("a".into())), "{value}");
    }
}

#[test]
fn deep_json_is_named_and_costs_no_stack() {
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(20_000), "]".repeat(20_000));
    assert_eq!(read(Some(JSON), deep).unwrap().required("a"), Err(Fault::Invalid("a".into())));
    assert_eq!(read(Some(JSON), "{\"a\":".repeat(20_000)).unwrap_err(), Fault::Unreadable);
}

#[test]
fn doubled_fields_are_named_in_every_form() {
    let multipart = "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--b\r\n\
                     Content-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--b--\r\n";
    let forms: [(&str, &str); 3] = [
        (JSON, r#"{"a":1,"b":{"a":1},"a":1,"c":[1]}"#),
        (FORM, "a=1&b=2&a=1"),
        ("multipart/form-data; boundary=b", multipart),
    ];
    for (kind, body) in forms {
        assert_eq!(read(Some(kind), body).unwrap_err(), Fault::Doubled("a".into()), "{kind}");
    }
    let mut fields = read(Some(FORM), "a=1").unwrap();
    assert_eq!(fields.add_urlencoded("a=1"), Err(Fault::Doubled("a".into())));
}

#[test]
fn what_cannot_be_read_is_unreadable() {
    let many: String = (0..65).map(|n| format!("f{n}=1&")).collect();
    let bodies: [(&str, &[u8]); 11] = [
        (JSON, b"[]"),
        (JSON, b"1"),
        (JSON, b"{\"a\":"),
        (JSON, b"{\"a\":1}x"),
        (JSON, b"{\"a\":\"\xff\"}"),
        (FORM, b"a=%ff"),
        (FORM, b"a=\xff"),
        (FORM, many.as_bytes()),
        ("multipart/form-data; boundary=b", b"--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\ntruncated"),
        ("multipart/form-data; boundary=b", b"--b\r\n\r\nno name\r\n--b--\r\n"),
        ("multipart/form-data", b"--\r\n"),
    ];
    for (kind, body) in bodies {
        let result = read(Some(kind), body);
        assert_eq!(
            result.unwrap_err(),
            Fault::Unreadable,
            "{kind} {}",
            String::from_utf8_lossy(&body[..body.len().min(60)])
        );
    }
}

#[test]
fn an_empty_body_has_no_fields() {
    for kind in [None, Some(FORM), Some("multipart/form-data"), Some(JSON)] {
        assert!(read(kind, "").unwrap().is_empty(), "{kind:?}");
    }
}

#[test]
fn fields_print_their_names_only() {
    let fields = read(Some(FORM), "password=hunter2").unwrap();
    assert_eq!(format!("{fields:?}"), r#"["password"]"#);
}

proptest! {
    #[test]
    fn nothing_panics(kind in "(application/json|multipart/form-data(; boundary=b)?|.{0,20})", body: Vec<u8>) {
        let _ = read(Some(&kind), body);
    }

    #[test]
    fn nothing_shaped_like_a_body_panics(
        kind in "(application/json|multipart/form-data; boundary=b|application/x-www-form-urlencoded)",
        body in "[-{}\\[\\]\":,&=%+b\r\n a1]{0,80}",
    ) {
        let _ = read(Some(&kind), body);
    }

    #[test]
    fn json_texts_come_back(name in "[a-z]{1,8}", value in "\\PC{1,40}") {
        let body = format!("{{{}:{}}}", serde_json::Value::from(name.as_str()), serde_json::Value::from(value.as_str()));
        let fields = Fields::from_json(body.as_bytes()).unwrap();
        prop_assert_eq!(fields.len(), 1);
    }
}
