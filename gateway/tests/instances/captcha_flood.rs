//! A flood of captcha requests whose clients disconnect without reading the response.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::processes::{PASSWORD, TEST_TIMEOUT, TestDeployment, get, send};

/// Number of captchas, and of requests for the picture of each captcha: 6,000 requests in all.
const CAPTCHA_COUNT: usize = 300;
const REQUESTS_PER_CAPTCHA: usize = 20;

/// Issues a captcha; returns the path of its picture.
fn issue_captcha(gateway: SocketAddr) -> String {
    let response = get(gateway, "/api/v1/Auth/getCAPTCHA").unwrap();
    let path = response.split(r#""URL":""#).nth(1).and_then(|rest| rest.split('"').next());
    path.unwrap_or_else(|| panic!("{response}")).to_owned()
}

/// Sends a GET and disconnects without waiting for the response.
fn request_and_disconnect(gateway: SocketAddr, path: &str) {
    let mut stream = TcpStream::connect(gateway).unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes()).unwrap();
}

/// The status of the response to a GET.
fn response_status(gateway: SocketAddr, path: &str) -> String {
    let response = get(gateway, path).unwrap();
    response.get(9..12).unwrap_or_else(|| panic!("{response}")).to_owned()
}

fn log_in(gateway: SocketAddr) -> String {
    let form = format!("account=load&password={PASSWORD}");
    let head = "POST /api/v1/Auth/Login HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\
                Content-Type: application/x-www-form-urlencoded";
    send(gateway, &format!("{head}\r\nContent-Length: {}\r\n\r\n{form}", form.len())).unwrap()
}

#[test]
fn abandoned_captcha_requests_do_not_block_other_clients() {
    let deployment = TestDeployment::new();
    let mut service = deployment.start_jwt(&[("STELE_SEND_CAPTCHA", "1000")]);
    let mut gateway = deployment.start_gateway_with(&[&service], &[("STELE_UPSTREAM_TIMEOUT", "5")]);
    let paths: Vec<_> = (0..CAPTCHA_COUNT).map(|_| issue_captcha(gateway.address)).collect();
    let flood_started_at = Instant::now();
    for _ in 0..REQUESTS_PER_CAPTCHA {
        for path in &paths {
            request_and_disconnect(gateway.address, path);
        }
    }
    let flood_duration = flood_started_at.elapsed();
    // The first requests of another client for a picture may get 503, but later ones get the picture.
    let mut statuses = Vec::new();
    let started_at = Instant::now();
    while statuses.last().is_none_or(|status| status != "200") {
        assert!(started_at.elapsed() < TEST_TIMEOUT, "no picture: {statuses:?}");
        statuses.push(response_status(gateway.address, &issue_captcha(gateway.address)));
        assert!(
            ["200", "503"].contains(&&**statuses.last().unwrap()),
            "{statuses:?} after a flood of {flood_duration:?}"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    let started_at = Instant::now();
    let response = log_in(gateway.address);
    assert!(response.contains("登录成功"), "{response}");
    assert!(started_at.elapsed() < Duration::from_secs(5), "{:?}", started_at.elapsed());
    for program in [&mut service, &mut gateway] {
        program.wait_until("readiness", |program| program.readiness_status() == Some(200));
    }
    let up_metric = format!(r#"stele_gateway_upstream_up{{service="jwt",instance="{}"}} 1"#, service.address);
    gateway.wait_until("the circuit to close", |gateway| gateway.metrics().lines().any(|line| line == up_metric));
    assert!(!gateway.log().contains("circuit opened"), "{}", gateway.log());
}
