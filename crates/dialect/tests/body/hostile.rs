//! Malicious bodies: parsing must neither panic nor take more than linear time.

use encoding_rs::GBK;
use proptest::prelude::*;

use super::*;

/// Bodies of the maximum size that a parser with backtracking would read in quadratic time.
#[test]
fn hostile_bodies_are_parsed_in_linear_time() {
    const LIMIT: usize = 64 * 1024;
    let fill_to_limit = |start: &str, unit: &str| start.to_owned() + &unit.repeat((LIMIT - start.len()) / unit.len());
    let started = std::time::Instant::now();
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
        let body = fill_to_limit(start, unit);
        for kind in [JSON, FORM, MULTIPART, "multipart/x; boundary=\"", &fill_to_limit("multipart/x;", ";boundary")] {
            let _ = parse_body(kind, &body);
            let _ = parse_body(kind, encode(GBK, &format!("{body}张")));
        }
    }
    // Generous for an unoptimized build on a busy machine; quadratic time would take minutes.
    assert!(started.elapsed().as_secs() < 60, "{:?}", started.elapsed());
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
