//! `stele migrate`, by many at once, and what is told to who comes before it.

use std::process::{Child, Command};

use stele_testkit::servers;

use crate::client::{DialectKind, md5_hex};
use crate::key_rotation::client_of;
use crate::support::{Installation, eventually};

const DATABASE_URL_SETTING: &str = "STELE_DATABASE_URL";

/// Eight processes migrate at once; all of them succeed.
fn migrate_concurrently(home: &Installation) {
    let mut migrating: Vec<Child> = (0..8).map(|_| home.command(&["migrate"]).spawn().unwrap()).collect();
    for child in &mut migrating {
        assert!(eventually("the end of stele migrate", || child.try_wait().unwrap()).success());
    }
}

#[test]
#[ignore = "needs PostgreSQL and Redis"]
fn concurrent_migrations_succeed() {
    let mut home = Installation::new();
    migrate_concurrently(&home);
    home.run(&["user", "list"]).assert_success();
    home.set(DATABASE_URL_SETTING, &servers::database_url());
    migrate_concurrently(&home);
    home.run(&["user", "list"]).assert_success();
}

#[test]
#[ignore = "needs PostgreSQL and Redis"]
fn only_the_migrate_command_migrates_postgresql() {
    let mut home = Installation::new();
    home.set(DATABASE_URL_SETTING, &servers::database_url());
    home.run(&["migrate"]).assert_success();
    home.run(&["user", "list"]).assert_success();
    home.unset();
    let empty = servers::database_url();
    home.set(DATABASE_URL_SETTING, &empty);
    for command in [&["user", "list"][..], &["check"]] {
        let output = home.run(command);
        assert_eq!(output.code, Some(2), "{output:?}");
        assert!(output.stderr.contains("is empty; run `stele migrate` first"), "{output:?}");
    }
    home.run(&["migrate"]).assert_success();
    home.run(&["user", "list"]).assert_success();
    servers::execute(&empty, "INSERT INTO __diesel_schema_migrations (version) VALUES ('9999')");
    home.run(&["user", "list"]).assert_failed(2, "newer schema");
    home.run(&["migrate"]).assert_failed(2, "newer");
}

/// Has a statement executed in the embedded database.
fn execute_sql(home: &Installation, sql: &str) {
    let program = "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); db.execute(sys.argv[2]); db.commit()";
    let file = home.data().join("users.db");
    assert!(Command::new("python3").args(["-c", program]).arg(file).arg(sql).status().unwrap().success());
}

/// Users with hashes as earlier builds imported them: salted md5, and `D` beside an empty salt.
fn insert_unwrapped_hashes(home: &Installation, execute: impl Fn(&str)) {
    for (name, verifier) in [
        ("salted", format!("{{raw}}$md5ps$6162${}", md5_hex("secret-1ab"))),
        ("unsalted", format!("{{raw}}$md5sp$${}", md5_hex("secret-1"))),
    ] {
        home.add_user(name, "unused-1", &[]);
        let bare = "seal_key_id = NULL, sealed = NULL";
        execute(&format!("UPDATE users SET verifier = '{verifier}', {bare} WHERE name = '{name}'"));
    }
}

async fn assert_both_log_in(home: &Installation) {
    let server = home.start_up();
    for name in ["salted", "unsalted"] {
        client_of(&server).login_as(DialectKind::Jwt, name, "wrong-1").await.assert_is(200, "-1");
        client_of(&server).login_as(DialectKind::Jwt, name, "secret-1").await.assert_success();
        client_of(&server).login_as(DialectKind::Cloudbox, name, "secret-1").await.assert_success();
    }
    server.stop();
}

async fn assert_migrate_wraps(home: &Installation, execute: impl Fn(&str)) {
    home.run(&["migrate"]).assert_success();
    insert_unwrapped_hashes(home, &execute);
    // A schema of an earlier build, whose instances may still run and could not read a wrapped hash.
    execute("DELETE FROM __diesel_schema_migrations WHERE version = '0013'");
    execute("DROP INDEX users_with_earlier_hash");
    let printed = home.run(&["migrate"]).assert_success().stdout.clone();
    assert!(printed.contains("run `stele migrate` again"), "{printed}");
    let printed = home.run(&["migrate"]).assert_success().stdout.clone();
    assert!(printed.starts_with("imported hashes wrapped: 2 of 2\n"), "{printed}");
    let printed = home.run(&["migrate"]).assert_success().stdout.clone();
    assert!(printed.starts_with("keys in "), "nothing is left to do: {printed}");
    assert_both_log_in(home).await;
}

#[tokio::test]
#[ignore = "needs PostgreSQL and Redis"]
async fn migrate_wraps_hashes_imported_by_earlier_builds() {
    let home = Installation::new();
    assert_migrate_wraps(&home, |sql| execute_sql(&home, sql)).await;
    let mut home = Installation::new();
    let url = servers::database_url();
    home.set(DATABASE_URL_SETTING, &url);
    assert_migrate_wraps(&home, |sql| servers::execute(&url, sql)).await;
}

#[tokio::test]
async fn up_wraps_imported_hashes_while_serving() {
    let home = Installation::new();
    home.run(&["migrate"]).assert_success();
    insert_unwrapped_hashes(&home, |sql| execute_sql(&home, sql));
    let server = home.start_up();
    eventually("the wrapping", || server.log().contains("imported hashes are wrapped").then_some(()));
    assert!(home.run(&["migrate"]).assert_success().stdout.starts_with("keys in "));
    server.stop();
    assert_both_log_in(&home).await;
}
