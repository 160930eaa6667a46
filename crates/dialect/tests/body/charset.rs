//! Declared and detected charsets.

use encoding_rs::{GBK, UTF_8, WINDOWS_1252};
use proptest::prelude::*;

use super::*;

#[test]
fn a_byte_order_mark_is_skipped() {
    for kind in ["", JSON, FORM, "text/plain; charset=gbk"] {
        for body in [r#"{"a":"张"}"#, "a=张", " {\"a\":\"张\"}"] {
            assert_fields(kind, format!("\u{feff}{body}"), &[("a", "张")]);
            assert_fields(kind, format!("\u{feff}\u{feff}{body}"), &[("a", "张")]);
        }
    }
    assert_fields(MULTIPART, "\u{feff}--b\r\ncontent-disposition: form-data; name=a\r\n\r\n1\r\n--b--", &[("a", "1")]);
}

#[test]
fn a_charset_is_declared_or_detected() {
    for label in ["GBK", "gb2312", "\"GB18030\"", "x-gbk", "none"] {
        assert_fields(&format!("application/json; charset={label}"), encode(GBK, r#"{"a":"张三"}"#), &[("a", "张三")]);
        assert_fields(
            &format!("{FORM};charset={label}"),
            encode(GBK, "a=张三&b=%D5%C5"),
            &[("a", "张三"), ("b", "张")],
        );
    }
    for kind in ["", "application/json", FORM, "multipart/form-data"] {
        // The second GBK byte of 誠 is a backslash, that of 珄 a brace.
        assert_fields(kind, encode(GBK, r#"{"a":"誠珄"}"#), &[("a", "誠珄")]);
        assert_fields(kind, encode(GBK, "a=誠珄"), &[("a", "誠珄")]);
        assert_fields(kind, "a=%D5%C5%C8%FD", &[("a", "张三")]);
    }
    // One charset for all fields: 模 in GBK is also valid UTF-8 (ģ), 张 is not.
    assert_fields(FORM, "a=%C4%A3&b=%D5%C5", &[("a", "模"), ("b", "张")]);
    assert_fields(FORM, "a=%C4%A3", &[("a", "ģ")]);
    assert_fields("application/json;charset=ISO-8859-1", encode(WINDOWS_1252, r#"{"a":"é"}"#), &[("a", "é")]);
    assert_fields("application/json;charset=Big5", encode(encoding_rs::BIG5, r#"{"a":"功許蓋"}"#), &[("a", "功許蓋")]);
}

#[test]
fn undecodable_bytes_are_rejected() {
    for kind in [JSON, "application/json", ""] {
        assert_malformed(kind, b"{\"a\":\"\xff\"}");
    }
    assert_malformed(JSON, encode(GBK, r#"{"a":"张三"}"#));
    for kind in [FORM, "", "multipart/form-data"] {
        assert_malformed(kind, b"a=\xff");
        assert_malformed(kind, "a=%ff");
    }
}

#[test]
fn utf_16_is_detected_from_its_bytes() {
    for text in ["{\"a\":\"张三\"}", "a=张三", "a=%E5%BC%A0%E4%B8%89\0\0"] {
        let units: Vec<u16> = text.encode_utf16().collect();
        let little: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        let big: Vec<u8> = units.iter().flat_map(|unit| unit.to_be_bytes()).collect();
        for body in [&little, &big, &[b"\xff\xfe", &little[..]].concat(), &[b"\xfe\xff", &big[..]].concat()] {
            for kind in ["", "application/json; charset=utf-16", "text/plain; charset=unicode", FORM] {
                assert_fields(kind, body, &[("a", "张三")]);
            }
        }
    }
    // .NET declares its in-memory encoding although the body is UTF-8.
    assert_fields("application/json; charset=utf-16", r#"{"a":"张三"}"#, &[("a", "张三")]);
    assert_malformed("", b"\xff\xfea\0=\0\x00\xd8");
}

proptest! {
    #[test]
    fn text_round_trips_through_every_charset(value in "[a-z张三李四é &=%+\"\\\\]{0,20}", utf8: bool) {
        let charset = if utf8 { UTF_8 } else { encoding_rs::GB18030 };
        let json = format!("{{\"a\":{}}}", serde_json::Value::from(value.as_str()));
        for label in ["", &format!(";charset={}", charset.name())] {
            assert_fields(&format!("application/json{label}"), encode(charset, &json), &[("a", &value)]);
        }
    }
}
