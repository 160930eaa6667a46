//! What users of other systems complain of in their imports, each a test.

use std::fmt::Write as _;

use stele_testkit::servers::Postgres;

use super::fixture::{BATCH, HEADER, ImportFixture, assert_ended, assert_interrupted, outcomes};
use crate::client::{DialectClient, DialectKind, md5_hex};
use crate::support::{CommandOutput, eventually};

/// Users of ours, and a file that collides with them and with itself in every identifier.
fn colliding(fixture: &ImportFixture) {
    let add = |name: &str, options: &[&str]| fixture.installation.add_user(name, "taken-by-us-1", options);
    add("ours", &["--phone", "13800138000"]);
    add("13900139000", &[]);
    let mut text = format!("{HEADER}\n");
    for n in 0..3 * BATCH {
        let name = match n % 7 {
            0 => "ours".to_owned(),
            1 => "OURS2".to_owned(),
            _ => format!("user{}", n / 2),
        };
        let phone = match n % 5 {
            0 => "+86 138 0013 8000".to_owned(),
            1 => "13900139000".to_owned(),
            2 => String::new(),
            _ => format!("137{:08}", n / 3),
        };
        writeln!(text, "{},{name},{phone},,{}", n - n % 11, md5_hex("123456")).unwrap();
    }
    fixture.write_file(text.as_bytes());
}

fn assert_check_predicts_run(fixture: &ImportFixture) {
    colliding(fixture);
    for merge in ["none", "phone", "username"] {
        fixture.write_map("csv", &format!("merge = \"{merge}\""));
        let arguments = ["import", "check", "--source", "old", "--map", "map.toml", "--json", "users.csv"];
        let checked: CommandOutput = fixture.installation.run(&arguments);
        let run = fixture.import("run");
        assert!(run.code == Some(3) && checked.code == Some(3), "{run:?}");
        assert_eq!(run.stdout.lines().last(), checked.stdout.lines().last(), "{merge}");
        assert_eq!(fixture.report(), outcomes(&checked.stdout), "{merge}");
        assert!(fixture.installation.run(&["import", "undo", "--source", "old"]).code == Some(0));
    }
}

/// Matrix's `syn2mas`, issue 2312.
#[test]
fn dry_run_succeeds_and_the_run_fails_on_a_unique_key_sqlite() {
    assert_check_predicts_run(&ImportFixture::on_sqlite());
}

#[test]
#[ignore = "needs PostgreSQL and Redis"]
fn dry_run_succeeds_and_the_run_fails_on_a_unique_key_postgresql() {
    assert_check_predicts_run(&ImportFixture::on_postgres());
}

/// Two systems have one person, with different passwords: the first one stays, the row is joined, and both are shown.
fn assert_differing_passwords_are_shown(fixture: &ImportFixture) {
    let row = |n: u64, phone: &str, password: &str| format!("{n},user{n},{phone},,{}\n", md5_hex(password));
    let first = [row(1, "13800138001", "one-and-the-same"), row(2, "13800138002", "first"), row(3, "13800138003", "x")];
    fixture.write_file(format!("{HEADER}\n{}", first.concat()).as_bytes());
    assert_ended(&fixture.import("run"), 0, "added 3 same 0 merged 0 refused 0");
    let second =
        [row(1, "+8613800138001", "one-and-the-same"), row(2, "13800138002", "second"), row(4, "13800138004", "y")];
    fixture.write_file(format!("{HEADER}\n{}", second.concat()).as_bytes());
    fixture.write_map("csv", "merge = \"phone\"");
    for command in ["check", "run"] {
        let arguments = ["import", command, "--source", "second", "--map", "map.toml", "users.csv"];
        let output = fixture.installation.run(&arguments);
        assert_ended(&output, 0, "added 1 same 0 merged 2 refused 0");
        assert!(output.stdout.contains("merged 1: password_kept: the user keeps the password"), "{output:?}");
    }
    let report = fixture.installation.run(&["import", "report", "--source", "second", "--json"]).stdout;
    assert_eq!(outcomes(&report), ["merge", "merge password_kept", "add"]);
    assert!(!report.contains(&md5_hex("second")), "{report}");
}

#[test]
fn a_password_that_differs_between_two_sources_is_shown_in_sqlite() {
    assert_differing_passwords_are_shown(&ImportFixture::on_sqlite());
}

#[test]
#[ignore = "needs PostgreSQL and Redis"]
fn a_password_that_differs_between_two_sources_is_shown_in_postgresql() {
    assert_differing_passwords_are_shown(&ImportFixture::on_postgres());
}

/// MAS, issue 3479.
#[test]
fn a_warning_drops_the_user() {
    let fixture = ImportFixture::on_sqlite();
    let map = "format = \"csv\"\n[columns]\nid = \"id\"\nusername = \"name\"\ngender = \"sex\"\nmemo = \"memo\"\n\
               registered_at = { column = \"at\", format = \"%Y-%m-%d\", zone = \"+08:00\" }\n";
    std::fs::write(fixture.installation.path("map.toml"), map).unwrap();
    fixture.write_file(b"id,name,sex,memo,at\n1,a,unknown,x,2018-01-01\n2,b,,\\N,0000-00-00\n3,c,3,\"two\nlines\",\n");
    assert_ended(&fixture.import("run"), 0, "added 3 same 0 merged 0 refused 0");
}

/// MAS, issue 4881.
#[test]
fn one_row_kills_the_run() {
    let fixture = ImportFixture::on_sqlite();
    let good = |n: u64| format!("{n},user{n},,,{}\n", md5_hex("123456"));
    let rows: String = (0..BATCH).map(good).chain(["x,,,\n".to_owned()]).chain((BATCH..3 * BATCH).map(good)).collect();
    fixture.write_file(format!("{HEADER}\n{rows}").as_bytes());
    assert_ended(&fixture.import("run"), 3, &format!("added {} same 0 merged 0 refused 1", 3 * BATCH));
}

/// Keycloak, issue 38043: 3,000 of 16,000.
#[test]
fn only_a_part_is_imported_silently() {
    let fixture = ImportFixture::on_sqlite();
    let mut text = format!("{HEADER}\n");
    for n in 0..4_000 {
        let secret = if n % 4 == 3 { md5_hex("123456") } else { "not a hash".to_owned() };
        writeln!(text, "{n},user{n},,,{secret}").unwrap();
    }
    fixture.write_file(text.as_bytes());
    let run = fixture.import("run");
    assert_ended(&run, 3, "added 1000 same 0 merged 0 refused 3000");
    assert!(run.stdout.contains("refused 3000: wrong_secret_kind: "), "{run:?}");
    assert_eq!(fixture.report().len(), 4_000);
}

/// Keycloak, issue 52870.
#[test]
fn success_is_reported_though_a_step_failed() {
    let fixture = ImportFixture::on_sqlite();
    fixture.write_users(3 * BATCH);
    let fail = |on: &str| format!("CREATE TRIGGER fail BEFORE {on} BEGIN SELECT RAISE(ABORT, 'a step failed'); END");
    for (on, added) in [
        ("INSERT ON import_runs", None),
        ("INSERT ON legacy_ids WHEN NEW.position = 700", Some(BATCH)),
        ("UPDATE OF finished_at ON import_runs", Some(3 * BATCH)),
    ] {
        fixture.execute_on_sqlite(&fail(on));
        let run = fixture.import("run");
        match added {
            Some(added) => assert_eq!(assert_interrupted(&run, "interrupted: "), added),
            None => assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""), "{run:?}"),
        }
        fixture.execute_on_sqlite("DROP TRIGGER fail");
        fixture.assert_whole();
    }
    assert_ended(&fixture.import("run"), 0, &format!("added {} same 0 merged 0 refused 0", 3 * BATCH));
}

/// Hashes of `correct horse`, computed by other implementations.
const HASHES: &str = include_str!("../../../../core/tests/vectors/imported.txt");

/// firebase-tools, issue 282.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hashes_are_accepted_that_no_user_can_log_in_with() {
    let fixture = ImportFixture::on_sqlite();
    let mut names = Vec::new();
    for (n, hash) in HASHES.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).enumerate() {
        let Some(kind) = ["md5ps", "md5sp", "bcrypt", "argon2"].into_iter().find(|kind| {
            hash.starts_with(if *kind == "bcrypt" { "$2".to_owned() } else { format!("${kind}") }.as_str())
        }) else {
            continue;
        };
        let map = format!(
            "format = \"jsonl\"\n[columns]\nid = \"id\"\nusername = \"id\"\n[secret]\ncolumn = \"hash\"\nkind = \"{kind}\""
        );
        std::fs::write(fixture.installation.path("map.toml"), map).unwrap();
        let name = format!("user-{kind}-{n}");
        fixture.write_file(serde_json::json!({ "id": name, "hash": hash }).to_string().as_bytes());
        if fixture.import("run").code == Some(0) {
            names.push(name);
        }
    }
    assert!(names.len() >= 6, "{names:?}");
    let server = fixture.installation.start_up();
    let client = DialectClient::without_credentials(&server);
    for _ in ["before hashing, or while it goes on", "afterwards"] {
        for name in &names {
            client.login_as(DialectKind::Jwt, name, "correct horse").await.assert_success();
            assert!(!client.login_as(DialectKind::Jwt, name, "wrong").await.is_success(), "{name}");
        }
        eventually("hashing", || fixture.status().contains("wait for argon2id: 0\n").then_some(()));
    }
}

/// Keycloak, issue 34364.
#[test]
#[ignore = "needs PostgreSQL and Redis"]
fn import_time_grows_with_each_file() {
    let server = Postgres::start();
    // A query that can use an index then does, however small the table is; others read every row.
    server.execute("ALTER SYSTEM SET enable_seqscan = off");
    server.execute("SELECT pg_reload_conf()");
    let fixture = ImportFixture::on_postgres_at(&server.default_database_url());
    let rows_read = || {
        let tables = "'users', 'identifiers', 'legacy_ids', 'import_rows'";
        fixture.value(&format!("(SELECT sum(seq_tup_read) FROM pg_stat_user_tables WHERE relname IN ({tables}))"))
    };
    let before = rows_read();
    for file in 0..3 {
        let mut text = format!("{HEADER}\n");
        for n in 0..2 * BATCH {
            writeln!(text, "{file}-{n},user-{file}-{n},,,{}", md5_hex("123456")).unwrap();
        }
        fixture.write_file(text.as_bytes());
        assert_ended(&fixture.import("run"), 0, &format!("added {} same 0 merged 0 refused 0", 2 * BATCH));
    }
    assert_eq!(rows_read(), before, "rows that were read without an index");
}
