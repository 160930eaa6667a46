//! Forward auth of `stele up`: at an address of its own, and through the gateway for proxies on this machine.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::support::Installation;

/// The portal's users log in by phone or e-mail.
const PHONE: &str = "13800138000";

fn send(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    response
}

/// The question of nginx about a request with this credential.
fn ask(address: &str, credential: &str) -> String {
    let fields = format!("X-Original-URL: https://app.example.com/\r\n{credential}\r\nConnection: close");
    send(address, &format!("GET /authz/auth-request HTTP/1.1\r\nHost: {address}\r\n{fields}\r\n\r\n"))
}

/// Logs in through the portal. Returns the line with the cookie.
fn log_in(gateway: &str, name: &str, password: &str) -> String {
    let body =
        format!("username={name}&password={}", STANDARD.encode(password).replace('+', "%2B").replace('=', "%3D"));
    let head = format!("Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}", body.len());
    let request = format!("POST /i/login HTTP/1.1\r\nHost: {gateway}\r\n{head}\r\nConnection: close\r\n\r\n{body}");
    let response = send(gateway, &request);
    let cookie =
        response.lines().find_map(|line| line.strip_prefix("Set-Cookie: ")).unwrap_or_else(|| panic!("{response}"));
    format!("Cookie: {}", cookie.split(';').next().unwrap())
}

#[test]
fn the_endpoints_are_at_their_own_address_and_behind_the_gateway() {
    let mut installation = Installation::new();
    // A free port now; another process could take it, which would be an error at the start.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    installation.set("STELE_AUTHZ_LISTEN", &format!("0.0.0.0:{port}"));
    installation.run(&["migrate"]).assert_success();
    installation.add_user("mark", "open sesame 7", &["--phone", PHONE]);
    let server = installation.start_up();
    let cookie = log_in(server.address(), PHONE, "open sesame 7");
    let inner = format!("127.0.0.1:{port}");
    for address in [inner.as_str(), server.address()] {
        let allowed = ask(address, &cookie).to_lowercase();
        assert!(allowed.starts_with("http/1.1 200") && allowed.contains("x-stele-username: mark\r\n"), "{allowed}");
        let denied = ask(address, "X-Stele-User: forged").to_lowercase();
        assert!(denied.starts_with("http/1.1 401") && denied.contains("x-stele-user: -\r\n"), "{denied}");
    }
    server.stop();
}
