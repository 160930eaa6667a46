//! A service reached directly, without the gateway before it: sizes that only the gateway refused.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::programs::Program;
use crate::support::Home;

/// What comes back until the server closes.
fn ask(address: &str, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    // It may answer and close before it was sent everything.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn a_header_name_of_64_kib_is_refused_without_a_panic() {
    let home = Home::new();
    home.run(&["migrate"]).done();
    let mut portal = Program::start(&home, "svc-portal", &[]);
    for length in [65_535, 65_536, 70_000, 130_000, 500_000] {
        for address in [&portal.address, &portal.admin] {
            let head = format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
            let answer = ask(address, format!("{head}{}: y\r\n\r\n", "x".repeat(length)).as_bytes());
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
type Form = fn(&str) -> (&'static str, String);

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
fn the_limit_of_bodies_is_the_services_as_well_as_the_gateways() {
    let mut home = Home::new();
    home.set("STELE_BODY_LIMIT", "300000");
    let server = home.up();
    let portal = Program::start(&home, "svc-portal", &[]);
    let forms: [Form; 3] = [json, urlencoded, multipart];
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
                    let answer = ask(address, request.as_bytes());
                    assert!(answer.starts_with(expected), "{kind} {length}: {answer:.300}");
                }
            }
        }
    }
}
