//! JSON bodies: strict JSON and JSON5.

use proptest::prelude::*;
use stele_dialect::{FieldError, Fields};

use super::*;

#[test]
fn json5_is_read_where_strict_json_fails() {
    for (body, value) in [
        ("{\"a\":\"eA==\n\"}", "eA==\n"),
        ("{\"a\":\"x\r\ny\tz\"\r\n}", "x\r\ny\tz"),
        ("{'a':'x'}", "x"),
        ("{a:'x',}", "x"),
        ("{\n// don't\n\"a\": /* the \"name\" */ \"x\"\n}", "x"),
        ("{\"a\":'\"\n'}", "\"\n"),
        ("{\"a\":\"x\\\\\n\"}", "x\\\n"),
    ] {
        for kind in ["", JSON, FORM] {
            assert_fields(kind, body, &[("a", value)]);
        }
    }
}

#[test]
fn a_body_that_is_neither_json_nor_json5_is_rejected() {
    for body in [
        "{\"a\":\"x\n}",
        "{\"a\" \"x\"}",
        "{,}",
        "{\"a\":01}",
        "{\"a\":\"x\"",
        "{\"a\":1}{}",
        "{a b:1}",
        "{\"a\":\"\\ud800\"}",
    ] {
        assert_malformed(JSON, body);
    }
    assert_eq!(parse_body(JSON, "{a:1,'a':'2'}").unwrap_err(), FieldError::Duplicate("a".into()));
    let many: String = (0..65).map(|n| format!("f{n}:1,")).collect();
    assert_malformed(JSON, format!("{{{many}}}"));
}

#[test]
fn deeply_nested_json_is_rejected_without_stack_overflow() {
    let nest_deeply = |a: &str| format!("{{{a}:{}{}}}", "[".repeat(20_000), "]".repeat(20_000));
    assert_eq!(parse_body(JSON, nest_deeply("\"a\"")).unwrap().required("a"), Err(FieldError::Invalid("a".into())));
    assert_malformed(JSON, nest_deeply("a"));
    assert_malformed(JSON, "{\"a\":".repeat(20_000));
    assert_malformed(JSON, "{a:".repeat(20_000));
    assert_eq!(
        parse_body(JSON, format!("{{a:{}{}}}", "[".repeat(31), "]".repeat(31))).unwrap().required("a"),
        Err(FieldError::Invalid("a".into()))
    );
}

#[test]
fn numbers_and_strings_are_equivalent() {
    let fields = parse_body(JSON, r#"{"a":1511839692,"b":"1511839692","c":null,"d":"","e":1.5,"f":-1}"#).unwrap();
    assert_eq!(fields.required("a"), fields.required("b"));
    assert_eq!(fields.optional("c"), Ok(None));
    assert_eq!(fields.required("c"), Err(FieldError::Missing("c".into())));
    assert_eq!(fields.required("d"), Err(FieldError::Missing("d".into())));
    assert_eq!(fields.required_maybe_empty("d"), Ok(""));
    assert_eq!(fields.optional("d"), Ok(None));
    assert_eq!(fields.required("f"), Ok("-1"));
}

#[test]
fn whole_numbers_serialized_as_doubles_stay_whole() {
    for (sent, parsed) in [
        ("1795691504.0", "1795691504"),
        ("1.795691504E9", "1795691504"),
        ("1.795691504e+09", "1795691504"),
        ("1.0", "1"),
        ("-2.0", "-2"),
        ("-0.0", "0"),
        ("1e3", "1000"),
        ("9007199254740991.0", "9007199254740991"),
        ("18446744073709551615", "18446744073709551615"),
    ] {
        for body in [format!("{{\"a\":{sent}}}"), format!("{{a:{sent}}}")] {
            assert_fields(JSON, body, &[("a", parsed)]);
        }
    }
    for sent in ["1.5", "1795691504.25", "9007199254740992.0", "1e20", "99999999999999999999", "1e-3"] {
        for body in [format!("{{\"a\":{sent}}}"), format!("{{a:{sent}}}")] {
            let [(_, value)] = &text_fields(JSON, &body)[..] else { panic!("{body}") };
            assert!(value.contains(['e', '.']), "{sent} is parsed as {value}");
        }
    }
    assert_fields(JSON, "{\"a\":1e999}", &[("a", "inf")]);
}

#[test]
fn a_field_of_the_wrong_type_is_named() {
    for value in ["true", "[]", "{}", r#"["a"]"#, r#"{"x":1}"#] {
        for fields in [parse_body(JSON, format!(r#"{{"a":{value}}}"#)), parse_body(JSON, format!(r#"{{a:{value}}}"#))] {
            assert_eq!(fields.unwrap().required_maybe_empty("a"), Err(FieldError::Invalid("a".into())), "{value}");
        }
    }
}

#[test]
fn json_sent_as_a_form_name_is_read() {
    for body in [
        "%7B%22a%22%3A%22x%2By%3D%22%7D=",
        "%7b%22a%22%3A%22x%2By%3D%22%7D",
        "{\"a\":\"x+y=\"}=",
        "%7B%22a%22:%22x%2By=%22%7D=",
    ] {
        for kind in [FORM, JSON, "multipart/form-data"] {
            assert_fields(kind, body, &[("a", "x+y=")]);
        }
    }
    assert_malformed(FORM, "%7B%22a%22");
}

proptest! {
    #[test]
    fn lenient_parsing_reads_strict_json_unchanged(name in "[a-z]{1,8}", value in "\\PC{0,40}") {
        let quote = |text: &str| serde_json::Value::from(text).to_string();
        let body = format!("{{{}:{}}}", quote(&name), quote(&value));
        let strict = Fields::from_json(body.as_bytes()).unwrap();
        prop_assert_eq!(strict.text_fields().collect::<Vec<_>>(), parse_body(JSON, &body).unwrap().text_fields().collect::<Vec<_>>());
    }
}
