//! Every setting that is a number or a duration, at both ends of its range and beyond: it is accepted, or a one-line
//! error names it. Nothing panics.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use stele::services;

use crate::support::{Installation, eventually};

/// Name, minimum and maximum of each number.
const NUMBER_RANGES: [(&str, &str, &str); 19] = [
    ("STELE_PASSWORD_MIN", "1", "128"),
    ("STELE_LIMIT_ACCOUNT", "0", "4294967295"),
    ("STELE_LIMIT_ADDRESS", "0", "4294967295"),
    ("STELE_LIMIT_APP", "0", "4294967295"),
    ("STELE_SEND_RECIPIENT", "0", "4294967295"),
    ("STELE_SEND_ADDRESS", "0", "4294967295"),
    ("STELE_SEND_APP", "0", "4294967295"),
    ("STELE_SEND_CAPTCHA", "0", "4294967295"),
    ("STELE_SEND_TOTAL", "0", "4294967295"),
    ("STELE_SESSIONS_PER_USER", "1", "1000000"),
    ("STELE_AUDIT_ORIGIN", "10", "100000"),
    ("STELE_AUDIT_GUESSES", "10", "1000000"),
    ("STELE_AUDIT_REFUSALS", "10", "1000000"),
    ("STELE_HASH_SLOTS", "1", "256"),
    ("STELE_HASH_QUEUE", "1", "1000000"),
    ("STELE_BODY_LIMIT", "1", "16777216"),
    ("STELE_MAX_CONNECTIONS", "1", "1000000"),
    ("STELE_DATABASE_CONNECTIONS", "3", "1000"),
    // At the maximum, each of the six servers has this many threads.
    ("STELE_WORKERS", "1", "512"),
];
/// Name, minimum and maximum of each duration.
const DURATION_RANGES: [(&str, &str, &str); 15] = [
    ("STELE_LIMIT_WINDOW", "1s", "3650d"),
    ("STELE_LIMIT_WAIT", "1s", "3650d"),
    ("STELE_LIMIT_WAIT_MAX", "1s", "3650d"),
    ("STELE_REPEAT_WINDOW", "0", "3600"),
    ("STELE_TIMESTAMP_SKEW", "0", "3650d"),
    ("STELE_SESSION_TTL", "1s", "3650d"),
    ("STELE_CODE_TTL", "1s", "3650d"),
    ("STELE_AUDIT_KEEP", "0", "3650d"),
    ("STELE_USE_KEEP", "0", "3650d"),
    ("STELE_DRAIN", "0", "3650d"),
    ("STELE_RESOLVE", "1s", "3650d"),
    ("STELE_HEALTH_INTERVAL", "1s", "3650d"),
    ("STELE_UPSTREAM_TIMEOUT", "1s", "3650d"),
    ("STELE_CLIENT_TIMEOUT", "1s", "3650d"),
    ("STELE_BODY_TIMEOUT", "1s", "3650d"),
];

fn all_ranges() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    NUMBER_RANGES.into_iter().chain(DURATION_RANGES)
}

/// Asserts that `stele up` with each setting at one end of its range serves logins without a panic.
fn assert_serves_with(select_value: fn((&'static str, &'static str, &'static str)) -> (&'static str, &'static str)) {
    let mut installation = Installation::new();
    for (name, value) in all_ranges().map(select_value) {
        // `the_maximum_number_of_workers_serves` tests this setting separately, because of the number of threads.
        if name != "STELE_WORKERS" {
            installation.set(name, value);
        }
    }
    let server = installation.start_up();
    installation.add_user("mark", "a-password", &["--phone", "13800138000"]);
    for (path, body) in [
        ("/api/v1/Auth/Login", "account=mark&password=wrong"),
        ("/api/v1/Auth/Login", "account=mark&password=a-password"),
        ("/i/login", "username=13800138000&password=eA=="),
        ("/code/send", "username=13800138000"),
        (
            "/api/v1/cloudbox/smarttms/auth/authsalt",
            "username=mark&password=0123456789abcdef0123456789abcdef&timestamp=1",
        ),
    ] {
        let head = format!("POST {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: {}", body.len());
        let head = format!("{head}\r\nContent-Type: application/x-www-form-urlencoded\r\n\r\n{body}");
        // With STELE_MAX_CONNECTIONS=1, a connection is rejected until the previous one is released.
        let response = eventually(path, || {
            let mut stream = TcpStream::connect(server.address()).ok()?;
            stream.write_all(head.as_bytes()).ok()?;
            let mut response = String::new();
            let _ = stream.read_to_string(&mut response);
            response.starts_with("HTTP/1.1 ").then_some(response)
        });
        let status = response.get(9..12).unwrap();
        assert!(["200", "413", "429"].contains(&status), "{path}: {response}");
    }
    // SIGINT ends even a drain of ten years.
    server.signal(rustix::process::Signal::INT);
    let mut server = server;
    assert_eq!(server.wait_for_exit(), Some(0), "{}", server.log());
    assert!(!server.log().contains("panicked"), "{}", server.log());
}

#[test]
fn minimum_values_are_accepted() {
    assert_serves_with(|(name, minimum, _)| (name, minimum));
}

#[test]
fn maximum_values_are_accepted() {
    assert_serves_with(|(name, _, maximum)| (name, maximum));
}

#[test]
fn the_maximum_number_of_workers_serves() {
    let mut installation = Installation::new();
    installation.set("STELE_WORKERS", "512");
    let server = installation.start_up();
    let log = server.stop();
    assert!(!log.contains("panicked"), "{log}");
}

#[test]
fn out_of_range_values_are_named_in_the_error() {
    let mut installation = Installation::new();
    installation.set("STELE_LOG", "error");
    installation.run(&["migrate"]).assert_success();
    let out_of_range_values = |name: &'static str, minimum: &str, maximum: &str| {
        let is_duration = maximum == "3650d";
        let above = if is_duration { "3651d".to_owned() } else { (maximum.parse::<u64>().unwrap() + 1).to_string() };
        let below = match minimum {
            "1" | "1s" => "0",
            "10" => "9",
            _ => "-1",
        };
        let huge = "99999999999999999999";
        [(name, above), (name, below.to_owned()), (name, huge.to_owned()), (name, "-0.5".to_owned())]
    };
    for (name, value) in all_ranges().flat_map(|(name, minimum, maximum)| out_of_range_values(name, minimum, maximum)) {
        installation.set(name, &value);
        let outcome = installation.run(&["up", "--listen", "127.0.0.1:0"]);
        let line = outcome.stderr.clone();
        assert_eq!(outcome.code, Some(2), "{name}={value}: {outcome:?}");
        assert!(line.starts_with(&format!("error: {name}")) && line.lines().count() == 1, "{name}={value}: {line}");
        installation.unset();
    }
}

/// Every setting whose default is a number or a duration must be in [`NUMBER_RANGES`] or [`DURATION_RANGES`].
#[test]
fn every_numeric_setting_is_covered() {
    let covered: Vec<_> = all_ranges().map(|(name, ..)| name).collect();
    let lists = services::settings();
    for setting in lists.iter().flat_map(|list| list.iter()).filter(|setting| setting.name().starts_with("STELE_")) {
        let (name, default) = (setting.name(), setting.default_text());
        let digits = default.trim_end_matches(['s', 'm', 'h', 'd']);
        let is_country_list = name == "STELE_SMS_COUNTRIES";
        if !is_country_list && !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
            assert!(covered.contains(&name), "{name} = {default}");
        }
    }
}
