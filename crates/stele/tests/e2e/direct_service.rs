//! Size limits of heads and bodies: of a service that is reached without the gateway, and of the gateway.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::separate_programs::RunningProgram;
use crate::support::Installation;

/// Sends `request` unchanged; returns everything until the server closes.
fn send_raw(address: &str, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    // The server may respond and close before it has read everything.
    let _ = stream.write_all(request);
    let mut response = Vec::new();
    let _ = stream.read_to_end(&mut response);
    String::from_utf8_lossy(&response).into_owned()
}

#[test]
fn a_64_kib_header_name_is_rejected_without_a_panic() {
    let installation = Installation::new();
    installation.run(&["migrate"]).assert_success();
    let mut portal = RunningProgram::start(&installation, "svc-portal", &[]);
    for length in [65_535, 65_536, 70_000, 130_000, 500_000] {
        for address in [&portal.address, &portal.admin] {
            let head = format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
            let response = send_raw(address, format!("{head}{}: y\r\n\r\n", "x".repeat(length)).as_bytes());
            let expected = match length {
                ..65_536 => "HTTP/1.1 200 ",
                65_536..131_072 => "HTTP/1.1 431 ",
                // Longer than the head that actix-http reads.
                _ => "HTTP/1.1 4",
            };
            assert!(response.starts_with(expected), "{length}: {response:?}");
        }
    }
    assert!(!portal.log().contains("panicked"), "{}", portal.log());
    portal.stop();
}

/// The content type and the body of a login with this text as password.
type LoginEncoding = fn(&str) -> (&'static str, String);

fn encode_multipart(value: &str) -> (&'static str, String) {
    let part = |name: &str, value: &str| {
        format!("--limit\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let body = format!("{}{}--limit--\r\n", part("username", "13800138000"), part("password", value));
    ("multipart/form-data; boundary=limit", body)
}

fn encode_json(value: &str) -> (&'static str, String) {
    ("application/json", format!(r#"{{"username":"13800138000","password":"{value}"}}"#))
}

fn encode_urlencoded(value: &str) -> (&'static str, String) {
    ("application/x-www-form-urlencoded", format!("username=13800138000&password={value}"))
}

/// `STELE_BODY_LIMIT` applies through the gateway and directly, in every format and framing.
#[test]
fn the_body_size_limit_applies_to_service_and_gateway() {
    let mut installation = Installation::new();
    installation.set("STELE_BODY_LIMIT", "300000");
    let server = installation.start_up();
    let portal = RunningProgram::start(&installation, "svc-portal", &[]);
    let encodings: [LoginEncoding; 3] = [encode_json, encode_urlencoded, encode_multipart];
    for address in [server.address(), portal.address.as_str()] {
        for encode in encodings {
            for (length, expected) in [(1_000, "HTTP/1.1 200 "), (200_000, "HTTP/1.1 200 "), (300_001, "HTTP/1.1 413 ")]
            {
                // Valid base64 of about this length.
                let (content_type, body) = encode(&"cGFzc3dvcmQ/".repeat(length / 12 + 1));
                let head = format!(
                    "POST /i/login HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Type: {content_type}\r\n"
                );
                let with_length = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
                let chunked =
                    format!("{head}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
                for request in [with_length, chunked] {
                    let response = send_raw(address, request.as_bytes());
                    assert!(response.starts_with(expected), "{content_type} {length}: {response:.300}");
                }
            }
        }
    }
}
