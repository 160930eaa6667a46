//! A service reached directly, without the gateway before it: sizes that only the gateway refused.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::separate_programs::RunningProgram;
use crate::support::Installation;

/// What comes back until the server closes.
fn send_raw(address: &str, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    // It may answer and close before it was sent everything.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn a_64_kib_header_name_is_rejected_without_a_panic() {
    let home = Installation::new();
    home.run(&["migrate"]).assert_success();
    let mut portal = RunningProgram::start(&home, "svc-portal", &[]);
    for length in [65_535, 65_536, 70_000, 130_000, 500_000] {
        for address in [&portal.address, &portal.admin] {
            let head = format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
            let answer = send_raw(address, format!("{head}{}: y\r\n\r\n", "x".repeat(length)).as_bytes());
            let expected = match length {
                ..65_536 => "HTTP/1.1 200 ",
                65_536..131_072 => "HTTP/1.1 431 ",
                // More than actix-http reads of a head.
                _ => "HTTP/1.1 4",
            };
            assert!(answer.starts_with(expected), "{length}: {answer:?}");
        }
    }
    assert!(!portal.log().contains("panicked"), "{}", portal.log());
    portal.stop();
}

/// A login whose password is a text: its content type and body.
type LoginEncoding = fn(&str) -> (&'static str, String);

fn multipart(value: &str) -> (&'static str, String) {
    let part = |name: &str, value: &str| {
        format!("--limit\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let body = format!("{}{}--limit--\r\n", part("username", "13800138000"), part("password", value));
    ("multipart/form-data; boundary=limit", body)
}

fn json(value: &str) -> (&'static str, String) {
    ("application/json", format!(r#"{{"username":"13800138000","password":"{value}"}}"#))
}

fn urlencoded(value: &str) -> (&'static str, String) {
    ("application/x-www-form-urlencoded", format!("username=13800138000&password={value}"))
}

/// One setting, whichever way a request comes.
#[test]
fn the_body_size_limit_applies_to_service_and_gateway() {
    let mut home = Installation::new();
    home.set("STELE_BODY_LIMIT", "300000");
    let server = home.start_up();
    let portal = RunningProgram::start(&home, "svc-portal", &[]);
    let forms: [LoginEncoding; 3] = [json, urlencoded, multipart];
    for address in [server.address(), portal.address.as_str()] {
        for form in forms {
            for (length, expected) in [(1_000, "HTTP/1.1 200 "), (200_000, "HTTP/1.1 200 "), (300_001, "HTTP/1.1 413 ")]
            {
                // A text in base64, not as long as a header's name in one piece.
                let (kind, body) = form(&"cGFzc3dvcmQ/".repeat(length / 12 + 1));
                let head =
                    format!("POST /i/login HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Type: {kind}\r\n");
                let announced = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
                let chunked =
                    format!("{head}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
                for request in [announced, chunked] {
                    let answer = send_raw(address, request.as_bytes());
                    assert!(answer.starts_with(expected), "{kind} {length}: {answer:.300}");
                }
            }
        }
    }
}
