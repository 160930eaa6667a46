//! Bodies in all their forms, good and bad.

#![expect(clippy::unwrap_used, reason = "a test's helpers may panic")]

use encoding_rs::{Encoding, GBK, UTF_8, WINDOWS_1252};
use proptest::prelude::*;
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

#[test]
fn a_byte_order_mark_is_skipped() {
    for kind in ["", JSON, FORM, "text/plain; charset=gbk"] {
        for body in [r#"{"a":"张"}"#, "a=张", " {\"a\":\"张\"}"] {
            holds(kind, format!("\u{feff}{body}"), &[("a", "张")]);
            holds(kind, format!("\u{feff}\u{feff}{body}"), &[("a", "张")]);
        }
    }
    holds(PARTS, "\u{feff}--b\r\ncontent-disposition: form-data; name=a\r\n\r\n1\r\n--b--", &[("a", "1")]);
}

fn encoded(charset: &'static Encoding, text: &str) -> Vec<u8> {
    charset.encode(text).0.into_owned()
}

#[test]
fn a_charset_is_declared_or_guessed() {
    for label in ["GBK", "gb2312", "\"GB18030\"", "x-gbk", "none"] {
        holds(&format!("application/json; charset={label}"), encoded(GBK, r#"{"a":"张三"}"#), &[("a", "张三")]);
        holds(&format!("{FORM};charset={label}"), encoded(GBK, "a=张三&b=%D5%C5"), &[("a", "张三"), ("b", "张")]);
    }
    for kind in ["", "application/json", FORM, "multipart/form-data"] {
        // The second byte of 誠 is a backslash, and that of 珄 a brace.
        holds(kind, encoded(GBK, r#"{"a":"誠珄"}"#), &[("a", "誠珄")]);
        holds(kind, encoded(GBK, "a=誠珄"), &[("a", "誠珄")]);
        holds(kind, "a=%D5%C5%C8%FD", &[("a", "张三")]);
    }
    // What one field is in, all are: 模 alone would be UTF-8's ģ.
    holds(FORM, "a=%C4%A3&b=%D5%C5", &[("a", "模"), ("b", "张")]);
    holds(FORM, "a=%C4%A3", &[("a", "ģ")]);
    holds("application/json;charset=ISO-8859-1", encoded(WINDOWS_1252, r#"{"a":"é"}"#), &[("a", "é")]);
    holds("application/json;charset=Big5", encoded(encoding_rs::BIG5, r#"{"a":"功許蓋"}"#), &[("a", "功許蓋")]);
    for kind in [JSON, "application/json", ""] {
        unreadable(kind, b"{\"a\":\"\xff\"}");
    }
    unreadable(JSON, encoded(GBK, r#"{"a":"张三"}"#));
    for kind in [FORM, "", "multipart/form-data"] {
        unreadable(kind, b"a=\xff");
        unreadable(kind, "a=%ff");
    }
}

#[test]
fn a_part_has_a_charset_of_its_own() {
    let gbk = encoded(GBK, "张三");
    let part = |name: &str, kind: &str, value: &[u8]| {
        let head = format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n{kind}\r\n");
        [head.as_bytes(), value, b"\r\n"].concat()
    };
    let declared = part("a", "Content-Type: text/plain; charset=GBK\r\n", &gbk);
    let body = [declared, part("b", "", "李四".as_bytes()), b"--b--\r\n".to_vec()].concat();
    holds(PARTS, &body, &[("a", "张三"), ("b", "李四")]);
    let body = [part("a", "", &gbk), part("b", "", b"1"), b"--b--\r\n".to_vec()].concat();
    holds(PARTS, &body, &[("a", "张三"), ("b", "1")]);
    holds(&format!("{PARTS}; charset=gbk"), &body, &[("a", "张三"), ("b", "1")]);
    assert_eq!(read(&format!("{PARTS}; charset=utf-8"), &body).unwrap_err(), Fault::Unreadable);
}

#[test]
fn utf_16_is_known_by_its_bytes() {
    for text in ["{\"a\":\"张三\"}", "a=张三", "a=%E5%BC%A0%E4%B8%89\0\0"] {
        let units: Vec<u16> = text.encode_utf16().collect();
        let little: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        let big: Vec<u8> = units.iter().flat_map(|unit| unit.to_be_bytes()).collect();
        for body in [&little, &big, &[b"\xff\xfe", &little[..]].concat(), &[b"\xfe\xff", &big[..]].concat()] {
            for kind in ["", "application/json; charset=utf-16", "text/plain; charset=unicode", FORM] {
                holds(kind, body, &[("a", "张三")]);
            }
        }
    }
    // .NET declares what a string is in memory.
    holds("application/json; charset=utf-16", r#"{"a":"张三"}"#, &[("a", "张三")]);
    unreadable("", b"\xff\xfea\0=\0\x00\xd8");
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
fn json_is_read_leniently_where_it_is_not_strict() {
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
            holds(kind, body, &[("a", value)]);
        }
    }
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
        unreadable(JSON, body);
    }
    assert_eq!(read(JSON, "{a:1,'a':'2'}").unwrap_err(), Fault::Doubled("a".into()));
    let many: String = (0..65).map(|n| format!("f{n}:1,")).collect();
    unreadable(JSON, format!("{{{many}}}"));
}

#[test]
fn deep_json_is_named_and_costs_no_stack() {
    let deep = |a: &str| format!("{{{a}:{}{}}}", "[".repeat(20_000), "]".repeat(20_000));
    assert_eq!(read(JSON, deep("\"a\"")).unwrap().required("a"), Err(Fault::Invalid("a".into())));
    unreadable(JSON, deep("a"));
    unreadable(JSON, "{\"a\":".repeat(20_000));
    unreadable(JSON, "{a:".repeat(20_000));
    assert_eq!(
        read(JSON, format!("{{a:{}{}}}", "[".repeat(31), "]".repeat(31))).unwrap().required("a"),
        Err(Fault::Invalid("a".into()))
    );
}

#[test]
fn numbers_and_strings_are_the_same() {
    let fields = read(JSON, r#"{"a":1511839692,"b":"1511839692","c":null,"d":"","e":1.5,"f":-1}"#).unwrap();
    assert_eq!(fields.required("a"), fields.required("b"));
    assert_eq!(fields.optional("c"), Ok(None));
    assert_eq!(fields.required("c"), Err(Fault::Missing("c".into())));
    assert_eq!(fields.required("d"), Err(Fault::Missing("d".into())));
    assert_eq!(fields.present("d"), Ok(""));
    assert_eq!(fields.optional("d"), Ok(None));
    assert_eq!(fields.required("f"), Ok("-1"));
}

#[test]
fn whole_numbers_that_went_through_a_double_are_whole() {
    for (sent, read) in [
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
            holds(JSON, body, &[("a", read)]);
        }
    }
    for sent in ["1.5", "1795691504.25", "9007199254740992.0", "1e20", "99999999999999999999", "1e-3"] {
        for body in [format!("{{\"a\":{sent}}}"), format!("{{a:{sent}}}")] {
            let [(_, value)] = &texts(JSON, &body)[..] else { panic!("{body}") };
            assert!(value.contains(['e', '.']), "{sent} is read as {value}");
        }
    }
    holds(JSON, "{\"a\":1e999}", &[("a", "inf")]);
}

#[test]
fn wrong_types_are_named() {
    for value in ["true", "[]", "{}", r#"["a"]"#, r#"{"x":1}"#] {
        for fields in [read(JSON, format!(r#"{{"a":{value}}}"#)), read(JSON, format!(r#"{{a:{value}}}"#))] {
            assert_eq!(fields.unwrap().present("a"), Err(Fault::Invalid("a".into())), "{value}");
        }
    }
}

#[test]
fn json_is_read_from_a_forms_only_name() {
    for body in [
        "%7B%22a%22%3A%22x%2By%3D%22%7D=",
        "%7b%22a%22%3A%22x%2By%3D%22%7D",
        "{\"a\":\"x+y=\"}=",
        "%7B%22a%22:%22x%2By=%22%7D=",
    ] {
        for kind in [FORM, JSON, "multipart/form-data"] {
            holds(kind, body, &[("a", "x+y=")]);
        }
    }
    unreadable(FORM, "%7B%22a%22");
}

#[test]
fn multipart_is_read_however_it_was_made() {
    let expected = [("a", "1"), ("b", "x--b\r\ny")];
    let body = "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--b\r\n\
                Content-Disposition: form-data; name=\"b\"\r\n\r\nx--b\r\ny\r\n--b--\r\n";
    for kind in [
        PARTS,
        "multipart/form-data",
        "multipart/mixed; boundary=b",
        "Multipart/Related; type=text/plain; Boundary = \"b\"",
        "multipart/form-data; boundary=other",
        "multipart/form-data boundary=b",
        "application/octet-stream",
        "",
    ] {
        holds(kind, body, &expected);
    }
    for body in [
        format!("This is a MIME message.\r\n--not\r\n{body}"),
        format!("\r\n\r\n{body}epilogue\r\n"),
        body.replace("--b--\r\n", ""),
        body.replace("--b--\r\n", "--b--"),
        body.replace("\r\n--b--\r\n", ""),
        body.replace("--b\r\nC", "--b  \t\r\nC"),
        body.replace(
            "form-data; name=\"a\"",
            "form-data; filename=\"C:\\x.txt\"; name=\"a\"\r\nContent-Type: text/plain",
        ),
        body.replace("form-data; name=\"a\"", "form-data;\r\n\tname=a"),
        body.replace(
            "Content-Disposition: form-data; name=\"b\"",
            "content-length: 7\r\ncontent-disposition:form-data;name=b",
        ),
    ] {
        holds(PARTS, body, &expected);
    }
    holds(PARTS, body.replace("\r\n", "\n"), &[("a", "1"), ("b", "x--b\ny")]);
    holds(PARTS, body.replace('\n', "\r\n").replace("\r\r\n", "\n"), &[("a", "1"), ("b", "x--b\ny")]);
    for boundary in ["----=_Part_1_2.3=", "===============7=", "a b'()+_,./:?", "x"] {
        let body = body.replace("--b\r\nC", &format!("--{boundary}\r\nC")).replace("--b--", &format!("--{boundary}--"));
        holds(&format!("multipart/form-data; boundary={boundary}"), &body, &expected);
        holds(&format!("multipart/form-data; boundary=\"{boundary}\"; charset=utf-8"), &body, &expected);
    }
    // In a body with CR LF, a boundary behind a bare LF is text.
    holds(
        PARTS,
        "--b\r\ncontent-disposition: form-data; name=a\r\n\r\nx\n--b--\r\ny\r\n--b--",
        &[("a", "x\n--b--\r\ny")],
    );
    for nothing in ["--b\r\n", "--b--", "--b\r\n--b--\r\n"] {
        holds(PARTS, nothing, &[]);
    }
}

#[test]
fn multipart_that_names_nothing_is_unreadable() {
    let long = format!("--{}\r\ncontent-disposition: form-data; name=a\r\n\r\n1\r\n", "x".repeat(71));
    let many: String =
        (0..65).map(|n| format!("--b\r\ncontent-disposition: form-data; name=f{n}\r\n\r\n1\r\n")).collect();
    for body in [
        "--b\r\n\r\nno name\r\n--b--\r\n",
        "--b\r\ncontent-disposition: form-data; filename=x\r\n\r\n1\r\n--b--\r\n",
        "--b\r\ncontent-disposition: form-data; name=a",
        "--b\r\nname=a\r\n\r\n1\r\n--b--",
        "--\r\n",
        &long,
        &many,
    ] {
        unreadable(PARTS, body);
    }
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

/// Bodies of the size limit that a reader could go through again and again.
#[test]
fn no_body_takes_long() {
    const LIMIT: usize = 64 * 1024;
    let filled = |start: &str, unit: &str| start.to_owned() + &unit.repeat((LIMIT - start.len()) / unit.len());
    let begun = std::time::Instant::now();
    for (start, unit) in [
        ("{a:'", "\n"),
        ("{a:'", "\\"),
        ("{\"a\":", "{\"a\":"),
        ("{", "/*"),
        ("{a:[[[[[[[[[[[[[[[[[[[[", "1,"),
        ("{a:", "9"),
        ("{a:0x", "f"),
        ("{\"a\":1e", "9"),
        ("a", "=&"),
        ("", "%D5"),
        ("", "+"),
        ("", "a=1&"),
        ("--b\r\n", "--b\r\n"),
        ("--b\r\n", "\r\n--"),
        ("--b\r\n", "\n"),
        ("--b\r\ncontent-disposition: form-data; ", "name;"),
        ("--b\r\ncontent-disposition: form-data", ";a=\""),
        ("--b\r\n", "content-disposition: x\r\n"),
        ("--b\r\ncontent-disposition: form-data;\r\n", " x=1\r\n"),
    ] {
        let body = filled(start, unit);
        for kind in [JSON, FORM, PARTS, "multipart/x; boundary=\"", &filled("multipart/x;", ";boundary")] {
            let _ = read(kind, &body);
            let _ = read(kind, encoded(GBK, &format!("{body}张")));
        }
    }
    // Unoptimized, and on a busy machine: quadratic work would take minutes.
    assert!(begun.elapsed().as_secs() < 60, "{:?}", begun.elapsed());
}

proptest! {
    #[test]
    fn nothing_panics(kind in "(application/json|multipart/form-data(; boundary=b)?|.{0,20})", body: Vec<u8>) {
        let _ = read(&kind, body);
    }

    #[test]
    fn nothing_shaped_like_a_body_panics(
        kind in "(application/json|multipart/form-data; boundary=b|application/x-www-form-urlencoded)",
        body in "[-{}\\[\\]\":,&=%+b'/*\r\n a1]{0,80}",
    ) {
        let _ = read(&kind, body);
    }

    #[test]
    fn parts_end_at_their_boundary_alone(
        values in prop::collection::vec("[-b\r\n a]{0,12}", 1..4),
        boundary in "[-b]{1,4}",
        breaks in prop::sample::select(vec!["\r\n", "\n"]),
        is_closed: bool,
    ) {
        let fields: Vec<_> = values.iter().enumerate().map(|(n, value)| (format!("f{n}"), value.clone())).collect();
        prop_assume!(!values.iter().any(|value| value.contains(&format!("--{boundary}"))));
        // Behind the last part there is nothing that says how it ends.
        prop_assume!(is_closed || !values.last().is_some_and(|last| last.ends_with(['\r', '\n'])));
        // Before a bare LF, a CR belongs to the line's end.
        prop_assume!(breaks == "\r\n" || !values.iter().any(|value| value.ends_with('\r')));
        let part = |(name, value): &(String, String)| {
            format!("--{boundary}{breaks}content-disposition: form-data; name={name}{breaks}{breaks}{value}{breaks}")
        };
        let end = if is_closed { format!("--{boundary}--{breaks}") } else { String::new() };
        let body = fields.iter().map(part).collect::<String>() + &end;
        prop_assert_eq!(texts(&format!("multipart/form-data; boundary={boundary}"), &body), fields);
    }

    #[test]
    fn what_is_strict_json_is_read_as_that(name in "[a-z]{1,8}", value in "\\PC{0,40}") {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let body = format!("{{{}:{}}}", quoted(&name), quoted(&value));
        let strict = Fields::from_json(body.as_bytes()).unwrap();
        prop_assert_eq!(strict.texts().collect::<Vec<_>>(), read(JSON, &body).unwrap().texts().collect::<Vec<_>>());
    }

    #[test]
    fn a_text_survives_every_charset_that_has_it(value in "[a-z张三李四é &=%+\"\\\\]{0,20}", utf8: bool) {
        let charset = if utf8 { UTF_8 } else { encoding_rs::GB18030 };
        let json = format!("{{\"a\":{}}}", serde_json::Value::from(value.as_str()));
        for label in ["", &format!(";charset={}", charset.name())] {
            holds(&format!("application/json{label}"), encoded(charset, &json), &[("a", &value)]);
        }
    }
}

#[test]
fn nuls_behind_multipart_without_a_last_boundary_are_dropped() {
    let body = b"--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n\0\0";
    let fields = Fields::from_body(Some("multipart/form-data; boundary=b"), body).unwrap();
    assert_eq!(fields.required("a"), Ok("1"));
}
