//! Common passwords in imports: they are imported and counted, once for each user, also if the import is killed.

use std::fmt::Write as _;

use crate::client::md5_hex;
use crate::support::{Installation, KillOnDrop, eventually};

const MAP: &str = r#"
format = "csv"
[columns]
id = "id"
username = "name"
[secret]
column = "password"
"#;
const RUN: [&str; 7] = ["import", "run", "--source", "old", "--map", "map.toml", "users.csv"];
/// Rows of [`users`].
const USERS: usize = 9_000;

/// Of every nine users two have a password of the built-in list, and one a word of the operator's list.
fn users() -> String {
    let mut rows = "id,name,password\n".to_owned();
    for n in 0..USERS {
        let password = match n % 9 {
            0 => "123456".to_owned(),
            1 => "woaini1314".to_owned(),
            2 => "steleworks".to_owned(),
            _ => format!("a-harmless-yak-{n}"),
        };
        writeln!(rows, "{n},user{n},{}", md5_hex(&password)).unwrap();
    }
    rows
}

/// A migrated installation with a map, a file of users, and `steleworks` on the operator's list.
fn installation(secret: &str, users: &str) -> Installation {
    let installation = Installation::new();
    installation.run(&["migrate"]).assert_success();
    std::fs::write(installation.path("map.toml"), format!("{MAP}{secret}\n")).unwrap();
    std::fs::write(installation.path("users.csv"), users).unwrap();
    std::fs::write(installation.path("words.txt"), "steleworks\n").unwrap();
    installation.run(&["passwords", "load", "words.txt"]).assert_success();
    installation
}

#[track_caller]
fn run(installation: &Installation, args: &[&str]) -> String {
    let output = installation.run(args);
    // Imports print their progress on standard error.
    assert_eq!(output.code, Some(0), "{output:?}");
    output.stdout
}

/// The line of the common passwords.
#[track_caller]
fn passwords_line(output: &str) -> &str {
    let mut lines = output.lines().filter(|line| line.starts_with("common passwords: "));
    let line = lines.next().unwrap_or_else(|| panic!("{output}"));
    assert_eq!(lines.next(), None, "{output}");
    line
}

#[test]
fn common_passwords_are_imported_and_counted_once_although_the_import_is_killed() {
    let installation = installation("kind = \"md5\"", &users());
    let expected = format!("common passwords: {} of {USERS} checked; 0 other hashes cannot be checked", USERS / 3);
    let check: Vec<_> = RUN.iter().map(|arg| if *arg == "run" { "check" } else { arg }).collect();
    assert_eq!(passwords_line(&run(&installation, &check)), expected);

    let status = || installation.run(&["import", "status", "--source", "old"]).stdout;
    let added = |status: &str| -> Option<usize> {
        status.lines().last()?.strip_prefix("added ")?.split(' ').next()?.parse().ok()
    };
    for written in [500, 3_000] {
        let mut killed = KillOnDrop(installation.command(&RUN).spawn().unwrap());
        eventually("some batches", || added(&status()).filter(|added| *added >= written));
        killed.0.kill().unwrap();
        killed.0.wait().unwrap();
        let left = status();
        let rows = added(&left).unwrap();
        assert!(rows < USERS, "{left}");
        // Nine divides neither a batch nor the cursor.
        let common = (0..rows).filter(|n| n % 9 < 3).count();
        let expected = format!("common passwords: {common} of {rows} checked; 0 other hashes cannot be checked");
        assert_eq!(passwords_line(&left), expected, "as many as rows are written");
    }
    let finished = run(&installation, &RUN);
    assert_eq!(passwords_line(&finished), expected);
    assert!(finished.ends_with(&format!("\nadded {USERS} same 0 merged 0 refused 0\n")), "{finished}");

    let report = run(&installation, &["import", "report", "--source", "old"]);
    assert_eq!((report.lines().count(), report.lines().last()), (USERS + 1, Some(&*expected)));
    let json = run(&installation, &["import", "report", "--source", "old", "--json"]);
    assert_eq!(json.lines().count(), USERS, "one line a row");
    assert!(!json.contains("common"), "no row shows whose password is common");

    // A second run brings no password.
    let again = run(&installation, &RUN);
    assert_eq!(passwords_line(&again), "common passwords: 0 of 0 checked; 0 other hashes cannot be checked");
    assert_eq!(passwords_line(&status()), expected);
    run(&installation, &["import", "undo", "--source", "old"]);
    let none = "common passwords: 0 of 0 checked; 0 other hashes cannot be checked";
    assert_eq!(passwords_line(&status()), none, "the run that brought the users is taken back");
}

#[test]
fn clear_passwords_are_checked_and_other_hashes_are_not() {
    let rows = "id,name,password\n1,alice,123456\n2,bob,a-harmless-yak\n3,carol,steleworks\n";
    let clear = installation("kind = \"clear\"", rows);
    let line = "common passwords: 2 of 3 checked; 0 other hashes cannot be checked";
    assert_eq!(passwords_line(&run(&clear, &RUN)), line);

    let salted = md5_hex("123456pepper");
    let rows = format!("id,name,password,salt\n1,alice,{salted},pepper\n2,bob,{salted},pepper\n");
    let salted = installation("kind = \"md5ps\"\nsalt = \"salt\"", &rows);
    let finished = run(&salted, &RUN);
    assert_eq!(passwords_line(&finished), "common passwords: 0 of 0 checked; 2 other hashes cannot be checked");
    assert!(finished.ends_with("\nadded 2 same 0 merged 0 refused 0\n"), "{finished}");
}
