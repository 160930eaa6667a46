//! Multipart bodies.

use proptest::prelude::*;
use stele_dialect::FieldError;

use super::*;

#[test]
fn multipart_variants_are_read() {
    let expected = [("a", "1"), ("b", "x--b\r\ny")];
    let body = "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--b\r\n\
                Content-Disposition: form-data; name=\"b\"\r\n\r\nx--b\r\ny\r\n--b--\r\n";
    for kind in [
        MULTIPART,
        "multipart/form-data",
        "multipart/mixed; boundary=b",
        "Multipart/Related; type=text/plain; Boundary = \"b\"",
        "multipart/form-data; boundary=other",
        "multipart/form-data boundary=b",
        "application/octet-stream",
        "",
    ] {
        assert_fields(kind, body, &expected);
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
        assert_fields(MULTIPART, body, &expected);
    }
    assert_fields(MULTIPART, body.replace("\r\n", "\n"), &[("a", "1"), ("b", "x--b\ny")]);
    assert_fields(MULTIPART, body.replace('\n', "\r\n").replace("\r\r\n", "\n"), &[("a", "1"), ("b", "x--b\ny")]);
    for boundary in ["----=_Part_1_2.3=", "===============7=", "a b'()+_,./:?", "x"] {
        let body = body.replace("--b\r\nC", &format!("--{boundary}\r\nC")).replace("--b--", &format!("--{boundary}--"));
        assert_fields(&format!("multipart/form-data; boundary={boundary}"), &body, &expected);
        assert_fields(&format!("multipart/form-data; boundary=\"{boundary}\"; charset=utf-8"), &body, &expected);
    }
    // In a body with CR LF line ends, a boundary after a bare LF is content.
    assert_fields(
        MULTIPART,
        "--b\r\ncontent-disposition: form-data; name=a\r\n\r\nx\n--b--\r\ny\r\n--b--",
        &[("a", "x\n--b--\r\ny")],
    );
    for empty_body in ["--b\r\n", "--b--", "--b\r\n--b--\r\n"] {
        assert_fields(MULTIPART, empty_body, &[]);
    }
}

#[test]
fn trailing_nuls_without_a_closing_boundary_are_dropped() {
    let body = b"--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n\0\0";
    let fields = Fields::from_body(Some("multipart/form-data; boundary=b"), body).unwrap();
    assert_eq!(fields.required("a"), Ok("1"));
}

#[test]
fn malformed_multipart_bodies_are_rejected() {
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
        assert_malformed(MULTIPART, body);
    }
}

#[test]
fn a_part_can_declare_its_own_charset() {
    let gbk = encode(GBK, "张三");
    let build_part = |name: &str, kind: &str, value: &[u8]| {
        let head = format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n{kind}\r\n");
        [head.as_bytes(), value, b"\r\n"].concat()
    };
    let declared = build_part("a", "Content-Type: text/plain; charset=GBK\r\n", &gbk);
    let body = [declared, build_part("b", "", "李四".as_bytes()), b"--b--\r\n".to_vec()].concat();
    assert_fields(MULTIPART, &body, &[("a", "张三"), ("b", "李四")]);
    let body = [build_part("a", "", &gbk), build_part("b", "", b"1"), b"--b--\r\n".to_vec()].concat();
    assert_fields(MULTIPART, &body, &[("a", "张三"), ("b", "1")]);
    assert_fields(&format!("{MULTIPART}; charset=gbk"), &body, &[("a", "张三"), ("b", "1")]);
    assert_eq!(parse_body(&format!("{MULTIPART}; charset=utf-8"), &body).unwrap_err(), FieldError::MalformedRequest);
}

proptest! {
    #[test]
    fn parts_end_only_at_their_boundary(
        values in prop::collection::vec("[-b\r\n a]{0,12}", 1..4),
        boundary in "[-b]{1,4}",
        breaks in prop::sample::select(vec!["\r\n", "\n"]),
        is_closed: bool,
    ) {
        let fields: Vec<_> = values.iter().enumerate().map(|(n, value)| (format!("f{n}"), value.clone())).collect();
        prop_assume!(!values.iter().any(|value| value.contains(&format!("--{boundary}"))));
        // Without a closing boundary, a line end at the end of the last part is not part of its value.
        prop_assume!(is_closed || !values.last().is_some_and(|last| last.ends_with(['\r', '\n'])));
        // A CR before LF belongs to the line end.
        prop_assume!(breaks == "\r\n" || !values.iter().any(|value| value.ends_with('\r')));
        let build_part = |(name, value): &(String, String)| {
            format!("--{boundary}{breaks}content-disposition: form-data; name={name}{breaks}{breaks}{value}{breaks}")
        };
        let end = if is_closed { format!("--{boundary}--{breaks}") } else { String::new() };
        let body = fields.iter().map(build_part).collect::<String>() + &end;
        prop_assert_eq!(text_fields(&format!("multipart/form-data; boundary={boundary}"), &body), fields);
    }
}
