//! `stele passwords`: the operator's list of common passwords, and the check of a password against the lists.

use std::fs;

use crate::client::{DialectClient, DialectKind};
use crate::support::{CommandOutput, Installation};

/// A list with a byte order mark, both kinds of line breaks, an empty line, a line that is not UTF-8, one that is too
/// long, a repeated line, and no line break at the end.
fn list_file() -> Vec<u8> {
    let too_long = "x".repeat(1_025);
    let longest = "y".repeat(1_024);
    let lines = [
        "\u{feff}steleworks".as_bytes(),
        b"steleworks2026\r",
        b"",
        b"\xb9\xab\xcb\xbe",
        too_long.as_bytes(),
        longest.as_bytes(),
        b"steleworks",
        " 两 面 ".as_bytes(),
    ];
    lines.join(&b'\n')
}

fn check(installation: &Installation, password: &str) -> CommandOutput {
    installation.run_with(&["passwords", "check"], password)
}

fn load(installation: &Installation, file: &str) -> CommandOutput {
    installation.run(&["passwords", "load", installation.path(file).to_str().unwrap()])
}

#[test]
fn a_list_is_loaded_once_line_by_line_and_cleared() {
    let installation = Installation::new();
    installation.run(&["passwords", "check"]).assert_failed(2, "run `stele migrate` first");
    installation.run(&["migrate"]).assert_success();
    fs::write(installation.path("list.txt"), list_file()).unwrap();
    let loaded = load(&installation, "list.txt");
    let text = &loaded.assert_success().stdout;
    assert!(text.contains("2 lines are not UTF-8 or longer than 1024 bytes, the first is line 4"), "{text}");
    assert!(text.ends_with("added 4 known 1 skipped 2; the list has 4 passwords\n"), "{text}");
    let again = load(&installation, "list.txt");
    let text = &again.assert_success().stdout;
    assert!(text.ends_with("added 0 known 5 skipped 2; the list has 4 passwords\n"), "{text}");

    for listed in ["steleworks", "steleworks2026", " 两 面 ", &"y".repeat(1_024)] {
        check(&installation, listed).assert_failed(1, "your own list");
    }
    check(&installation, "5201314").assert_failed(1, "built-in list");
    for other in ["\u{feff}steleworks", "steleworks2026 ", "x-password"] {
        assert_eq!(check(&installation, other).assert_success().stdout, "not listed\n", "{other}");
    }
    let cleared = installation.run(&["passwords", "clear"]);
    assert_eq!(cleared.assert_success().stdout, "removed 4; the list is empty\n");
    check(&installation, "steleworks").assert_success();
    check(&installation, "5201314").assert_failed(1, "built-in list");
}

#[test]
fn a_file_that_cannot_be_read_changes_nothing() {
    let installation = Installation::new();
    installation.run(&["migrate"]).assert_success();
    load(&installation, "missing.txt").assert_failed(2, "missing.txt cannot be read");
    fs::create_dir(installation.path("folder")).unwrap();
    load(&installation, "folder").assert_failed(2, "folder cannot be read");
    fs::write(installation.path("empty.txt"), "").unwrap();
    let empty = load(&installation, "empty.txt");
    let text = &empty.assert_success().stdout;
    assert!(text.ends_with("added 0 known 0 skipped 0; the list has 0 passwords\n"), "{text}");
}

#[test]
fn batches_of_a_long_list_are_all_loaded() {
    let installation = Installation::new();
    installation.run(&["migrate"]).assert_success();
    let lines: String = (0..4_500).map(|n| format!("word-{n}\n")).collect();
    fs::write(installation.path("long.txt"), lines).unwrap();
    let loaded = load(&installation, "long.txt");
    let text = &loaded.assert_success().stdout;
    assert!(text.ends_with("added 4500 known 0 skipped 0; the list has 4500 passwords\n"), "{text}");
    for listed in ["word-0", "word-1999", "word-2000", "word-4499"] {
        check(&installation, listed).assert_failed(1, "your own list");
    }
    assert_eq!(installation.run(&["passwords", "clear"]).assert_success().stdout, "removed 4500; the list is empty\n");
}

#[tokio::test]
async fn running_services_use_a_loaded_list_at_once() {
    let mut installation = Installation::new();
    let server = installation.start_up();
    let client = DialectClient::without_credentials(&server);
    let add = |installation: &Installation, name: &str, password: &str| {
        installation.run_with(&["user", "add", "--username", name, "--password-stdin"], password)
    };
    add(&installation, "mark", "5201314").assert_failed(1, "list of common passwords");
    add(&installation, "mark", "steleworks2026").assert_success();
    fs::write(installation.path("list.txt"), list_file()).unwrap();
    load(&installation, "list.txt").assert_success();
    // The password of an existing user, and an imported hash, are not checked.
    client.login_as(DialectKind::Jwt, "mark", "steleworks2026").await.assert_success();
    let md5 = "723d505516e0c197e42a6be3c0af910e";
    installation.run_with(&["user", "add", "--username", "ada", "--hash-stdin"], md5).assert_success();
    client.login_as(DialectKind::Jwt, "ada", "5201314").await.assert_success();
    installation
        .run_with(&["user", "passwd", "mark", "--password-stdin"], "steleworks")
        .assert_failed(1, "list of common passwords");
    installation.set("STELE_PASSWORD_LIST", "warn");
    let warned = installation.run_with(&["user", "passwd", "mark", "--password-stdin"], "steleworks");
    assert_eq!(warned.code, Some(0), "{warned:?}");
    assert!(warned.stderr.contains("a common password was set"), "{warned:?}");
    installation.set("STELE_PASSWORD_LIST", "off");
    installation.run_with(&["user", "passwd", "mark", "--password-stdin"], "5201314").assert_success();
    server.stop();
    let events = installation.run(&["audit", "--json"]).assert_success().stdout.clone();
    for (act, result) in
        [("add_user", "common_password"), ("provision_password", "common_password"), ("load_passwords", "ok")]
    {
        let is_event = |line: &str| line.contains(&format!("\"{act}\"")) && line.contains(&format!("\"{result}\""));
        assert!(events.lines().any(is_event), "{act} {result}: {events}");
    }
    assert!(!events.contains("steleworks"), "{events}");
}
