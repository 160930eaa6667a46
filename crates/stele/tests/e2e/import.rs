//! `stele import` and `stele export`: the commands, their exit codes and last lines, and logins of imported users.

use std::fmt::Write as _;

use serde_json::Value;

use crate::client::{DialectClient, DialectKind, TestUser, md5_hex};
use crate::support::{CommandOutput, Installation, assert_ended, eventually};

const MAP: &str = r#"
format = "csv"
dialect = "cloudbox"
[columns]
id = "user_id"
username = "user_name"
phone = "mobile"
email = "mail"
registered_at = { column = "created", format = "%Y-%m-%d %H:%M:%S", zone = "+08:00" }
role = { column = "is_admin", admin = ["1"] }
[secret]
column = "password"
kind = "md5"
"#;
const HEADER: &str = "user_id,user_name,mobile,mail,created,is_admin,password";

/// A migrated installation with a map and a file of users.
fn installation(rows: &[String]) -> Installation {
    let installation = Installation::new();
    installation.run(&["migrate"]).assert_success();
    std::fs::write(installation.path("map.toml"), MAP).unwrap();
    write_users(&installation, rows);
    installation
}

fn write_users(installation: &Installation, rows: &[String]) {
    std::fs::write(installation.path("users.csv"), format!("{HEADER}\n{}\n", rows.join("\n"))).unwrap();
}

/// A row of an administrator, who may log in through every dialect.
fn user_row(id: &str, name: &str, phone: &str, password: &str) -> String {
    format!("{id},{name},{phone},{name}@qq.com,2018-03-20 14:00:02,1,{}", md5_hex(password))
}

const RUN: [&str; 7] = ["import", "run", "--source", "cloudbox", "--map", "map.toml", "users.csv"];

fn import(installation: &Installation, command: &str, options: &[&str]) -> CommandOutput {
    let mut args = RUN.to_vec();
    args[1] = command;
    installation.run_with(&[&args[..], options].concat(), "123456\n")
}

fn status(installation: &Installation) -> String {
    installation.run(&["import", "status", "--source", "cloudbox"]).stdout
}

#[test]
fn check_predicts_the_run_and_writes_nothing() {
    let rows = [
        user_row("1", "alice", "13800138000", "123456"),
        user_row("2", "bob", "+86 138 0013 8000", "123456"),
        user_row("3", "taken", "13800138003", "123456"),
        "4,,,,,,".to_owned(),
        user_row("1", "alice", "13800138000", "123456"),
    ];
    let installation = installation(&rows);
    installation.add_user("taken", "a-password", &[]);
    let expected = "added 1 same 1 merged 0 refused 3";
    let checked = import(&installation, "check", &[]);
    assert_ended(&checked, 3, expected);
    for line in ["refused 1: identifier_repeated:phone", "refused 1: no_identifier", "expected duration"] {
        assert!(checked.stdout.contains(line), "{checked:?}");
    }
    let users = installation.run(&["user", "list"]).assert_success().stdout.clone();
    assert_eq!(users.lines().count(), 1, "{users}");
    let left: Vec<_> =
        std::fs::read_dir(installation.data()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("import-check")), "{left:?}");

    let refused = import(&installation, "run", &["--all-or-nothing"]);
    assert_ended(&refused, 3, expected);
    assert!(refused.stdout.contains("nothing was imported"), "{refused:?}");
    assert!(status(&installation).is_empty(), "no run was started");

    assert_ended(&import(&installation, "run", &[]), 3, expected);
    assert_ended(&import(&installation, "run", &[]), 3, "added 0 same 2 merged 0 refused 3");
    let report =
        installation.run(&["import", "report", "--source", "cloudbox", "--json"]).assert_success().stdout.clone();
    let lines: Vec<Value> = report.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let outcomes: Vec<_> =
        lines.iter().map(|line| (line["line"].as_u64().unwrap(), line["outcome"].as_str().unwrap())).collect();
    assert_eq!(outcomes, [(2, "same"), (3, "refuse"), (4, "refuse"), (5, "refuse"), (6, "same")]);
    assert_eq!((&lines[2]["id"], &lines[2]["code"]), (&"3".into(), &"identifier_taken:username".into()));
    assert!(!report.contains(&md5_hex("123456")), "{report}");
}

#[test]
fn faults_of_the_command_the_map_or_the_file_exit_with_2() {
    let installation = installation(&[user_row("1", "alice", "13800138000", "123456")]);
    let wrong = user_row("2", "bob", "13800138001", "another");
    write_users(&installation, &[user_row("1", "alice", "13800138000", "123456"), wrong]);
    assert_ended(
        &import(&installation, "check", &["--prove", "+86-13800138000"]),
        0,
        "added 2 same 0 merged 0 refused 0",
    );
    import(&installation, "run", &["--prove", "bob"]).assert_failed(2, "does not match the hash");
    import(&installation, "run", &["--prove", "carol"]).assert_failed(2, "prove another user");
    assert!(status(&installation).is_empty(), "nothing was imported");
    let source = ["--source", "cloudbox"];
    for command in
        [&["import", "status"][..], &["import", "report"], &["import", "undo"], &["export", "--map", "map.toml"]]
    {
        let output = installation.run(&[command, &source].concat());
        output.assert_failed(2, "nothing was imported from cloudbox; correct --source");
        assert!(output.stdout.is_empty(), "{output:?}");
    }
    installation
        .run(&["import", "status", "--source", "Cloud box"])
        .assert_failed(2, "a source has 1 to 32 characters");
    for (map, message) in [
        (MAP.replace("user_name", "login"), "which the source does not have"),
        (MAP.replace("username", "user"), "unknown key `user`"),
        (MAP.replace("\"md5\"", "\"sha3\""), "unknown value `sha3`"),
        (MAP.replace("\"cloudbox\"", "\"cloudbx\""), "dialect is not known; write one of \"cloudbox\""),
    ] {
        std::fs::write(installation.path("map.toml"), map).unwrap();
        import(&installation, "run", &[]).assert_failed(2, message);
    }
    std::fs::write(installation.path("map.toml"), MAP).unwrap();
    let missing = installation.run(&["--data", "missing", "import", "check", RUN[2], RUN[3], RUN[4], RUN[5], RUN[6]]);
    missing.assert_failed(2, "data folder missing: ");
    assert!(missing.stderr.contains("`stele migrate`") && missing.stderr.contains("--data"), "{missing:?}");
    std::fs::remove_file(installation.path("map.toml")).unwrap();
    import(&installation, "check", &[]).assert_failed(2, "check the path of the map");
}

#[test]
fn the_rows_of_a_file_without_a_header_are_in_no_output() {
    let installation = installation(&[]);
    for row in ["7,zed,13800138000,z@qq.com,,1,hunter2", "zed,hunter2", "hunter2"] {
        std::fs::write(installation.path("users.csv"), format!("{row}\n8,bob,,,,1,hunter2\n")).unwrap();
        let check = |map, from| installation.run(&["import", "check", "--source", "cloudbox", "--map", map, from]);
        for (output, message) in [
            (check("map.toml", "users.csv"), "the file needs a header line"),
            (check("users.csv", "users.csv"), "users.csv: line 1: "),
            (check("map.toml", "@users.csv"), "without @"),
        ] {
            output.assert_failed(2, message);
            assert!(!format!("{output:?}").contains("hunter2"), "{output:?}");
        }
    }
    std::fs::write(installation.path("users.csv"), "7,zed,hunter2\n").unwrap();
    let guessed = installation.run(&["import", "map", "--guess", "users.csv"]);
    guessed.assert_failed(2, "looks like data");
    assert!(!format!("{guessed:?}").contains("hunter2"), "{guessed:?}");
}

#[tokio::test]
async fn imported_users_log_in_through_every_dialect_before_and_after_hashing() {
    let installation = installation(&[user_row("1", "alice", "13800138000", "123456")]);
    let server = installation.start_up();
    let client = DialectClient::register(&installation, &server);
    // The server hashes what it finds when it starts, and looks again after some seconds.
    assert_ended(&import(&installation, "run", &[]), 0, "added 1 same 0 merged 0 refused 0");
    let text = |text: &str| text.to_owned();
    let alice = TestUser { id: text(""), name: text("alice"), phone: text("13800138000"), email: text("alice@qq.com") };
    // The salted dialects first: a password would be hashed at its first login.
    for dialect in DialectKind::ALL {
        client.login(dialect, &alice, "123456").await.assert_success();
        assert!(!client.login(dialect, &alice, "wrong").await.is_success(), "{dialect:?}");
    }
    eventually("background hashing", || status(&installation).contains("wait for argon2id: 0\n").then_some(()));
    for dialect in DialectKind::ALL {
        let response = client.login(dialect, &alice, "123456").await.assert_success();
        // The map's ids are those of cloudbox alone.
        let id = response.json["data"]["user_id"].as_str();
        match dialect {
            DialectKind::Cloudbox => assert_eq!(id, Some("1")),
            _ => assert_ne!(id, Some("1"), "{dialect:?}"),
        }
    }
}

#[tokio::test]
async fn every_instance_hashes_what_waits_when_it_starts() {
    let rows: Vec<_> = (0..30).map(|n| user_row(&n.to_string(), &format!("user{n}"), "", "123456")).collect();
    let installation = installation(&rows);
    assert_ended(&import(&installation, "run", &[]), 0, "added 30 same 0 merged 0 refused 0");
    assert!(status(&installation).contains("wait for argon2id: 30\n"));
    let server = installation.start_up();
    eventually("background hashing", || status(&installation).contains("wait for argon2id: 0\n").then_some(()));
    DialectClient::without_credentials(&server).login_as(DialectKind::Jwt, "user7", "123456").await.assert_success();
    let database = std::fs::read(installation.data().join("users.db")).unwrap();
    let digest = md5_hex("123456");
    assert!(!database.windows(32).any(|window| window == digest.as_bytes()), "no digest rests in the clear");
}

#[test]
fn a_killed_import_is_resumed_and_loses_and_doubles_nothing() {
    let mut text = format!("{HEADER}\n");
    for n in 0..12_000 {
        writeln!(text, "{}", user_row(&n.to_string(), &format!("user{n}"), "", "123456")).unwrap();
    }
    let installation = installation(&[]);
    std::fs::write(installation.path("users.csv"), text).unwrap();
    for written in [500, 3_000] {
        let mut killed = crate::support::KillOnDrop(installation.command(&RUN).spawn().unwrap());
        let added = |status: &str| -> Option<u64> {
            status.lines().last()?.strip_prefix("added ")?.split(' ').next()?.parse().ok()
        };
        eventually("some batches", || added(&status(&installation)).filter(|added| *added >= written));
        killed.0.kill().unwrap();
        killed.0.wait().unwrap();
        let left = status(&installation);
        assert!(left.contains("running or interrupted") && added(&left) < Some(12_000), "{left}");
    }
    assert_ended(&import(&installation, "run", &[]), 0, "added 12000 same 0 merged 0 refused 0");
    let report = installation.run(&["import", "report", "--source", "cloudbox"]).assert_success().stdout.clone();
    assert_eq!(report.lines().filter(|line| line.ends_with("\tadd")).count(), 12_000);
    assert_eq!(installation.run(&["user", "list"]).assert_success().stdout.lines().count(), 12_000);
}

#[test]
fn undo_takes_unchanged_users_back_and_export_writes_the_columns_of_the_map() {
    let rows = [user_row("1", "alice", "13800138000", "123456"), user_row("2", "bob", "13800138001", "654321")];
    let installation = installation(&rows);
    assert_ended(&import(&installation, "run", &[]), 0, "added 2 same 0 merged 0 refused 0");
    let export = |options: &[&str], input: &str| {
        let args = [&["export", "--source", "cloudbox", "--map", "map.toml"], options].concat();
        installation.run_with(&args, input)
    };
    let without = export(&[], "").assert_success().stdout.clone();
    // The columns are in the order of the map's keys.
    assert!(without.starts_with(&format!("{HEADER}\r\n1,alice,")), "{without}");
    assert!(without.contains("2018-03-20 14:00:02") && !without.contains(&md5_hex("123456")), "{without}");
    export(&["--with-digests"], "no\n").assert_failed(2, "confirm with `yes`");
    let with = export(&["--with-digests"], "yes\n").assert_success().stdout.clone();
    assert!(with.contains(&md5_hex("123456")) && with.contains(&md5_hex("654321")), "{with}");
    let exports = |installation: &Installation| {
        installation.run(&["audit"]).assert_success().stdout.lines().filter(|line| line.contains("export")).count()
    };
    let recorded = exports(&installation);
    assert!(recorded > 0);
    let salted = MAP.replace("kind = \"md5\"", "kind = \"md5ps\"\nsalt = \"salt\"");
    std::fs::write(installation.path("map.toml"), salted).unwrap();
    export(&["--with-digests"], "yes\n").assert_failed(2, "set kind = \"md5\"");
    assert_eq!(exports(&installation), recorded, "nothing was exported");
    std::fs::write(installation.path("map.toml"), MAP).unwrap();
    let json = export(&["--format", "jsonl", "--with-digests"], "yes\n").assert_success().stdout.clone();
    let first: Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    assert_eq!((&first["mobile"], &first["is_admin"]), (&"13800138000".into(), &"1".into()));
    // What was exported is the same when it is imported again.
    std::fs::write(installation.path("users.csv"), with).unwrap();
    assert_ended(&import(&installation, "run", &[]), 0, "added 0 same 2 merged 0 refused 0");

    write_users(
        &installation,
        &[user_row("3", "carol", "13800138003", "x"), user_row("4", "dave", "13800138004", "x")],
    );
    assert_ended(&import(&installation, "run", &[]), 0, "added 2 same 0 merged 0 refused 0");
    installation.run_with(&["user", "passwd", "dave", "--password-stdin"], "a-changed-one").assert_success();
    let undone = installation.run(&["import", "undo", "--source", "cloudbox"]).assert_success().stdout.clone();
    let earlier = "earlier runs that still hold users: 1 (`--run N`)";
    assert_eq!(undone, format!("kept 4\n{earlier}\nremoved 1 kept 1\n"));
    assert!(status(&installation).contains("undone at"));
    let users = installation.run(&["user", "list"]).assert_success().stdout.clone();
    assert!(users.contains("dave") && users.contains("alice") && !users.contains("carol"), "{users}");
    installation.run(&["import", "undo", "--source", "cloudbox"]).assert_failed(1, "undone already");
}

fn undo(installation: &Installation, options: &[&str]) -> CommandOutput {
    installation.run(&[&["import", "undo", "--source", "cloudbox"], options].concat())
}

#[test]
fn undo_passes_over_runs_that_have_brought_no_users() {
    let rows = [user_row("1", "alice", "13800138000", "123456"), user_row("2", "bob", "13800138001", "654321")];
    let installation = installation(&rows);
    assert_ended(&import(&installation, "run", &[]), 0, "added 2 same 0 merged 0 refused 0");
    assert_ended(&import(&installation, "run", &[]), 0, "added 0 same 2 merged 0 refused 0");
    assert_eq!(undo(&installation, &[]).assert_success().stdout, "removed 2 kept 0\n");
    undo(&installation, &[]).assert_failed(1, "run 1 of cloudbox is undone already; nothing was changed");
    undo(&installation, &["--run", "9"]).assert_failed(1, "cloudbox has no run 9");
    assert_eq!(installation.run(&["user", "list"]).assert_success().stdout, "");
    // Audited is the run that was taken back, not the last one.
    let audit = installation.run(&["audit", "--json"]).assert_success().stdout.clone();
    let undone: Vec<_> = audit.lines().filter(|line| line.contains("undo_import")).collect();
    assert!(undone.len() == 1 && undone[0].contains("cloudbox run 1: added 2"), "{audit}");
}

#[test]
fn undo_takes_both_runs_of_an_import_back_whose_map_was_changed_after_a_kill() {
    let installation = installation(&[]);
    let rows: Vec<_> = (0..12_000).map(|n| user_row(&n.to_string(), &format!("user{n}"), "", "123456")).collect();
    write_users(&installation, &rows);
    let mut killed = crate::support::KillOnDrop(installation.command(&RUN).spawn().unwrap());
    let has_added = |status: &str| status.lines().last().is_some_and(|line| !line.starts_with("added 0 "));
    eventually("a batch", || has_added(&status(&installation)).then_some(()));
    killed.0.kill().unwrap();
    killed.0.wait().unwrap();
    std::fs::write(installation.path("map.toml"), format!("{MAP}\n# changed\n")).unwrap();
    // It takes more than a second on a busy machine, and then reports its progress.
    let second = import(&installation, "run", &[]);
    assert!(second.code == Some(0) && second.stdout.contains("merged 0 refused 0"), "{second:?}");
    let later = undo(&installation, &[]).assert_success().stdout.clone();
    assert!(later.starts_with("earlier runs that still hold users: 1 (`--run N`)\nremoved "), "{later}");
    undo(&installation, &[]).assert_failed(
        1,
        "run 2 of cloudbox is undone already; nothing was changed; earlier runs that still hold users: 1",
    );
    let first = undo(&installation, &["--run", "1"]).assert_success().stdout.clone();
    assert!(first.starts_with("removed ") && first.ends_with(" kept 0\n"), "{first}");
    assert_eq!(installation.run(&["user", "list"]).assert_success().stdout, "");
    undo(&installation, &["--run", "1"]).assert_failed(1, "run 1 of cloudbox is undone already");
}

#[test]
fn undo_of_a_run_is_repeated_after_the_source_that_had_joined_its_users_is_taken_back() {
    let installation = installation(&[user_row("1", "alice", "13800138000", "123456")]);
    assert_ended(&import(&installation, "run", &[]), 0, "added 1 same 0 merged 0 refused 0");
    let map = MAP.replace("dialect = \"cloudbox\"", "merge = \"username\"");
    std::fs::write(installation.path("map.toml"), map).unwrap();
    let mut args = RUN;
    args[3] = "other";
    assert_ended(&installation.run(&args), 0, "added 0 same 0 merged 1 refused 0");
    assert_eq!(undo(&installation, &[]).assert_success().stdout, "kept 1\nremoved 0 kept 1\n");
    let other = installation.run(&["import", "undo", "--source", "other"]).assert_success().stdout.clone();
    assert_eq!(other, "kept 1\nremoved 0 kept 1\n");
    undo(&installation, &[]).assert_failed(1, "to try the users who stayed again: `--run 1`");
    assert_eq!(undo(&installation, &["--run", "1"]).assert_success().stdout, "removed 1 kept 0\n");
}

#[test]
fn a_map_is_proposed_from_the_columns_of_a_file() {
    let installation = installation(&[user_row("1", "alice", "13800138000", "123456")]);
    let guessed = installation.run(&["import", "map", "--guess", "users.csv"]).assert_success().stdout.clone();
    for line in ["format = \"csv\"", "username = \"user_name\"", "phone = \"mobile\"", "column = \"password\""] {
        assert!(guessed.contains(line), "{guessed}");
    }
    std::fs::write(installation.path("map.toml"), guessed).unwrap();
    assert_ended(&import(&installation, "check", &["--prove", "alice"]), 0, "added 1 same 0 merged 0 refused 0");
}
