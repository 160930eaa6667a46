//! Bodies that are made to break a reader.

use encoding_rs::GBK;
use proptest::prelude::*;

use super::*;

/// Bodies of the size limit that a reader could go through again and again.
#[test]
fn hostile_bodies_are_parsed_in_linear_time() {
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
        for kind in [JSON, FORM, MULTIPART, "multipart/x; boundary=\"", &filled("multipart/x;", ";boundary")] {
            let _ = parse_body(kind, &body);
            let _ = parse_body(kind, encode(GBK, &format!("{body}张")));
        }
    }
    // Unoptimized, and on a busy machine: quadratic work would take minutes.
    assert!(begun.elapsed().as_secs() < 60, "{:?}", begun.elapsed());
}

proptest! {
    #[test]
    fn arbitrary_bodies_do_not_panic(kind in "(application/json|multipart/form-data(; boundary=b)?|.{0,20})", body: Vec<u8>) {
        let _ = parse_body(&kind, body);
    }

    #[test]
    fn arbitrary_body_like_input_does_not_panic(
        kind in "(application/json|multipart/form-data; boundary=b|application/x-www-form-urlencoded)",
        body in "[-{}\\[\\]\":,&=%+b'/*\r\n a1]{0,80}",
    ) {
        let _ = parse_body(&kind, body);
    }
}
