//! `stele up --demo`: what it prints can be pasted.

use std::process::Command;

use crate::support::{Home, Server};

const SUCCESS: [(&str, &str); 5] = [
    ("cloudbox", r#""code":"0000""#),
    ("tms", r#""code":"0000""#),
    ("portal", r#""status_code":"200""#),
    ("mefp", r#""result":1"#),
    ("jwt", r#""code":0"#),
];

fn paste_every_line(server: &Server) {
    let printed = server.stdout();
    for (dialect, success) in SUCCESS {
        let row =
            printed.lines().find(|line| line.split_whitespace().next() == Some(dialect)).expect("a row in the table");
        assert_eq!(row.split_whitespace().count(), 4, "dialect, URL, user and password: {row}");
        assert!(row.contains(&server.url), "{row}");
        let mut after = printed.lines().skip_while(|line| *line != format!("# {dialect}"));
        let line = after.nth(1).expect("a line to paste below the dialect's name");
        assert!(line.contains("curl "), "{line}");
        let output = Command::new("bash").args(["-c", line]).output().unwrap();
        let answer = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && answer.contains(success), "{line}\n{output:?}");
    }
}

#[test]
fn every_line_of_the_demonstration_works_when_pasted() {
    let home = Home::new();
    let server = home.up_with(&["--demo"]);
    paste_every_line(&server);
    server.stop();
    // A second time on the same folder: the users are there already.
    let again = home.up_with(&["--demo"]);
    paste_every_line(&again);
    again.kill();
    let users = home.run(&["user", "list"]);
    assert_eq!(users.done().stdout.lines().count(), 5, "{users:?}");
}

#[test]
fn the_demonstration_does_not_take_over_a_strangers_phone() {
    let home = Home::new();
    home.run(&["migrate"]).done();
    home.add_user("someone", "secret-1", &["--phone", "13800138003"]);
    let outcome = home.run(&["up", "--listen", "127.0.0.1:0", "--demo"]);
    assert_eq!(outcome.code, Some(2), "{outcome:?}");
    assert!(outcome.stderr.lines().last().unwrap().starts_with("error: someone else has 13800138003"), "{outcome:?}");
}

#[test]
fn the_demonstration_works_over_https_with_a_certificate_made_at_the_start() {
    let home = Home::new();
    let server = home.up_with(&["--demo", "--tls-self-signed"]);
    assert!(server.url.starts_with("https://127.0.0.1:"), "{}", server.url);
    paste_every_line(&server);
    server.stop();
}
