//! `stele up --demo`: the printed `curl` commands work.

use std::process::Command;

use crate::support::{Installation, Server};

const SUCCESS_MARKERS: [(&str, &str); 5] = [
    ("cloudbox", r#""code":"0000""#),
    ("tms", r#""code":"0000""#),
    ("portal", r#""status_code":"200""#),
    ("mefp", r#""result":1"#),
    ("jwt", r#""code":0"#),
];

fn run_every_curl_line(server: &Server) {
    let printed = server.stdout();
    for (dialect, success) in SUCCESS_MARKERS {
        let row =
            printed.lines().find(|line| line.split_whitespace().next() == Some(dialect)).expect("a row in the table");
        assert_eq!(row.split_whitespace().count(), 4, "dialect, URL, user and password: {row}");
        assert!(row.contains(&server.url), "{row}");
        run_line_below(&printed, &format!("# {dialect}"), success);
    }
    let answer = run_line_below(&printed, "# exchange", r#""token_type":"Bearer""#);
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["access_token"].as_str().unwrap().split('.').count(), 3, "a JWT: {answer}");
    let answer = run_line_below(&printed, "# introspection", r#""active":true"#);
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    assert_eq!((&answer["username"], &answer["acr"]), (&"demo-tms".into(), &"urn:stele:acr:legacy".into()), "{answer}");
}

/// Runs the line below `title`; returns the response.
fn run_line_below(printed: &str, title: &str, success: &str) -> String {
    let mut after = printed.lines().skip_while(|line| *line != title);
    let line = after.nth(1).expect("a line to paste below the title");
    assert!(line.contains("curl "), "{line}");
    let output = Command::new("bash").args(["-c", line]).output().unwrap();
    let response = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && response.contains(success), "{line}\n{response}");
    response
}

#[test]
fn every_curl_line_of_the_demo_works() {
    let installation = Installation::new();
    let server = installation.start_up_with(&["--demo"]);
    run_every_curl_line(&server);
    server.stop();
    // A second start on the same folder, where the users exist already.
    let restarted = installation.start_up_with(&["--demo"]);
    run_every_curl_line(&restarted);
    restarted.kill();
    let users = installation.run(&["user", "list"]);
    assert_eq!(users.assert_success().stdout.lines().count(), 5, "{users:?}");
}

#[test]
fn the_demo_does_not_take_over_an_existing_phone() {
    let installation = Installation::new();
    installation.run(&["migrate"]).assert_success();
    installation.add_user("someone", "secret-1", &["--phone", "13800138003"]);
    let outcome = installation.run(&["up", "--listen", "127.0.0.1:0", "--demo"]);
    assert_eq!(outcome.code, Some(2), "{outcome:?}");
    assert!(outcome.stderr.lines().last().unwrap().starts_with("error: another user has 13800138003"), "{outcome:?}");
}

#[test]
fn the_demo_works_over_https_with_a_self_signed_certificate() {
    let installation = Installation::new();
    let server = installation.start_up_with(&["--demo", "--tls-self-signed"]);
    assert!(server.url.starts_with("https://127.0.0.1:"), "{}", server.url);
    run_every_curl_line(&server);
    server.stop();
}
