//! Thousands of pictures that are asked for and not waited for.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::processes::{PASSWORD, TEST_TIMEOUT, TestDeployment, get, send};

/// How many captchas are issued, and how often each one's picture is asked for: 6,000 in all.
const CAPTCHA_COUNT: usize = 300;
const REQUESTS_PER_CAPTCHA: usize = 20;

/// The path of a new captcha's picture.
fn issue_captcha(gateway: SocketAddr) -> String {
    let answer = get(gateway, "/api/v1/Auth/getCAPTCHA").unwrap();
    let path = answer.split(r#""URL":""#).nth(1).and_then(|rest| rest.split('"').next());
    path.unwrap_or_else(|| panic!("{answer}")).to_owned()
}

/// Asks, and hangs up at once.
fn request_and_disconnect(gateway: SocketAddr, path: &str) {
    let mut stream = TcpStream::connect(gateway).unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes()).unwrap();
}

/// The status of an answer to a GET.
fn response_status(gateway: SocketAddr, path: &str) -> String {
    let answer = get(gateway, path).unwrap();
    answer.get(9..12).unwrap_or_else(|| panic!("{answer}")).to_owned()
}

fn log_in(gateway: SocketAddr) -> String {
    let form = format!("account=load&password={PASSWORD}");
    let head = "POST /api/v1/Auth/Login HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\
                Content-Type: application/x-www-form-urlencoded";
    send(gateway, &format!("{head}\r\nContent-Length: {}\r\n\r\n{form}", form.len())).unwrap()
}

#[test]
fn abandoned_captcha_requests_do_not_block_other_clients() {
    let home = TestDeployment::new();
    let mut service = home.start_jwt(&[("STELE_SEND_CAPTCHA", "1000")]);
    let mut gateway = home.start_gateway_with(&[&service], &[("STELE_UPSTREAM_TIMEOUT", "5")]);
    let paths: Vec<_> = (0..CAPTCHA_COUNT).map(|_| issue_captcha(gateway.address)).collect();
    let begun = Instant::now();
    for _ in 0..REQUESTS_PER_CAPTCHA {
        for path in &paths {
            request_and_disconnect(gateway.address, path);
        }
    }
    let flooded = begun.elapsed();
    // Another client's picture: it may be asked to come back, and need not do so for long.
    let mut statuses = Vec::new();
    let asked = Instant::now();
    while statuses.last().is_none_or(|status| status != "200") {
        assert!(asked.elapsed() < TEST_TIMEOUT, "no picture: {statuses:?}");
        statuses.push(response_status(gateway.address, &issue_captcha(gateway.address)));
        assert!(["200", "503"].contains(&&**statuses.last().unwrap()), "{statuses:?} after {flooded:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
    let asked = Instant::now();
    let answer = log_in(gateway.address);
    assert!(answer.contains("登录成功"), "{answer}");
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    for program in [&mut service, &mut gateway] {
        program.wait_until("ready", |program| program.readiness_status() == Some(200));
    }
    let up = format!(r#"stele_gateway_upstream_up{{service="jwt",instance="{}"}} 1"#, service.address);
    gateway.wait_until("a closed circuit", |gateway| gateway.metrics().lines().any(|line| line == up));
    assert!(!gateway.log().contains("no more requests for a while"), "{}", gateway.log());
}
