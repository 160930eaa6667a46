//! `stele migrate`: concurrent runs, commands that fail until it has run, a newer schema, and wrapping of imported
//! hashes (also by `stele up`).

use std::path::Path;
use std::process::{Child, Command};

use stele_testkit::servers;

use crate::client::{DialectClient, DialectKind, md5_hex};
use crate::support::{Installation, Server, eventually};

const DATABASE_URL_SETTING: &str = "STELE_DATABASE_URL";

/// Runs eight migrations concurrently; all of them must succeed.
fn migrate_concurrently(installation: &Installation) {
    let mut children: Vec<Child> = (0..8).map(|_| installation.command(&["migrate"]).spawn().unwrap()).collect();
    for child in &mut children {
        assert!(eventually("the end of stele migrate", || child.try_wait().unwrap()).success());
    }
}

#[test]
#[ignore = "needs PostgreSQL and Redis"]
fn concurrent_migrations_succeed() {
    let mut installation = Installation::new();
    migrate_concurrently(&installation);
    installation.run(&["user", "list"]).assert_success();
    installation.set(DATABASE_URL_SETTING, &servers::database_url());
    migrate_concurrently(&installation);
    installation.run(&["user", "list"]).assert_success();
}

#[test]
#[ignore = "needs PostgreSQL and Redis"]
fn only_the_migrate_command_migrates_postgresql() {
    let mut installation = Installation::new();
    installation.set(DATABASE_URL_SETTING, &servers::database_url());
    installation.run(&["migrate"]).assert_success();
    installation.run(&["user", "list"]).assert_success();
    installation.unset();
    let empty = servers::database_url();
    installation.set(DATABASE_URL_SETTING, &empty);
    for command in [&["user", "list"][..], &["check"]] {
        let output = installation.run(command);
        assert_eq!(output.code, Some(2), "{output:?}");
        assert!(output.stderr.contains("is empty; run `stele migrate` first"), "{output:?}");
    }
    installation.run(&["migrate"]).assert_success();
    installation.run(&["user", "list"]).assert_success();
}

/// Applies the migration of a later version: a column, and the journal's entry.
fn apply_next_migration(execute: impl Fn(&str)) {
    execute("ALTER TABLE users ADD COLUMN next_text TEXT NOT NULL DEFAULT 'x'");
    execute("INSERT INTO __diesel_schema_migrations (version) VALUES ('9998')");
}

/// A later version migrates under a running server. This version serves on, restarts, and logs in users that it adds;
/// once the database excludes it, it refuses in one line.
async fn assert_newer_schema_is_used(mut installation: Installation, execute: impl Fn(&str)) {
    installation.set("STELE_HASH_COST", "64,1,1,weak");
    installation.run(&["migrate"]).assert_success();
    installation.add_user("earlier", "secret-1", &[]);
    let log_in = async |server: &Server, name: &str| {
        for dialect in [DialectKind::Cloudbox, DialectKind::Jwt] {
            let client = DialectClient::without_credentials(server);
            client.login_as(dialect, name, "secret-1").await.assert_success();
        }
    };
    let server = installation.start_up();
    apply_next_migration(&execute);
    log_in(&server, "earlier").await;
    server.stop();
    let printed = installation.run(&["migrate"]).assert_success().stdout.clone();
    assert!(
        printed.contains("schema: newer than this version's") && printed.contains("nothing was changed"),
        "{printed}"
    );
    let server = installation.start_up();
    assert_eq!(server.log().matches("has a newer schema, which this version can use").count(), 1, "{}", server.log());
    installation.add_user("later", "secret-0", &[]);
    installation.run_with(&["user", "passwd", "later", "--password-stdin"], "secret-1").assert_success();
    log_in(&server, "earlier").await;
    log_in(&server, "later").await;
    server.stop();

    execute("UPDATE facts SET value = 9998 WHERE name = 'oldest_program'");
    for command in [&["user", "list"][..], &["up"], &["migrate"]] {
        installation.run(command).assert_failed(2, "which this version cannot use");
    }
}

#[tokio::test]
async fn a_newer_sqlite_schema_is_used_as_far_as_it_declares() {
    let installation = Installation::new();
    let file = installation.data().join("users.db");
    assert_newer_schema_is_used(installation, |sql| execute_sql(&file, sql)).await;
}

#[tokio::test]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_newer_postgres_schema_is_used_as_far_as_it_declares() {
    let (mut installation, url) = (Installation::new(), servers::database_url());
    installation.set(DATABASE_URL_SETTING, &url);
    assert_newer_schema_is_used(installation, |sql| servers::execute(&url, sql)).await;
}

/// Executes an SQL statement in the file of an embedded user store.
pub(crate) fn execute_sql(file: &Path, sql: &str) {
    let program = "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); db.execute(sys.argv[2]); db.commit()";
    assert!(Command::new("python3").args(["-c", program]).arg(file).arg(sql).status().unwrap().success());
}

/// Adds users with hashes as earlier versions imported them: salted md5, and md5 with an empty salt.
fn insert_unwrapped_hashes(installation: &Installation, execute: impl Fn(&str)) {
    for (name, verifier) in [
        ("salted", format!("{{raw}}$md5ps$6162${}", md5_hex("secret-1ab"))),
        ("unsalted", format!("{{raw}}$md5sp$${}", md5_hex("secret-1"))),
    ] {
        installation.add_user(name, "unused-1", &[]);
        let no_digest = "seal_key_id = NULL, sealed = NULL";
        execute(&format!("UPDATE users SET verifier = '{verifier}', {no_digest} WHERE name = '{name}'"));
    }
}

async fn assert_both_log_in(installation: &Installation) {
    let server = installation.start_up();
    for name in ["salted", "unsalted"] {
        DialectClient::without_credentials(&server)
            .login_as(DialectKind::Jwt, name, "wrong-1")
            .await
            .assert_is(200, "-1");
        DialectClient::without_credentials(&server).login_as(DialectKind::Jwt, name, "secret-1").await.assert_success();
        DialectClient::without_credentials(&server)
            .login_as(DialectKind::Cloudbox, name, "secret-1")
            .await
            .assert_success();
    }
    server.stop();
}

async fn assert_migrate_wraps(installation: &Installation, execute: impl Fn(&str)) {
    installation.run(&["migrate"]).assert_success();
    insert_unwrapped_hashes(installation, &execute);
    // The schema of an earlier version, whose instances may still run and cannot read a wrapped hash.
    execute("DELETE FROM __diesel_schema_migrations WHERE version = '0013'");
    execute("DROP INDEX users_with_earlier_hash");
    let printed = installation.run(&["migrate"]).assert_success().stdout.clone();
    assert!(printed.contains("run `stele migrate` again"), "{printed}");
    let printed = installation.run(&["migrate"]).assert_success().stdout.clone();
    assert!(printed.starts_with("imported hashes wrapped: 2 of 2\n"), "{printed}");
    let printed = installation.run(&["migrate"]).assert_success().stdout.clone();
    assert!(printed.starts_with("keys in "), "no hash is left to wrap: {printed}");
    assert_both_log_in(installation).await;
}

#[tokio::test]
#[ignore = "needs PostgreSQL and Redis"]
async fn migrate_wraps_hashes_imported_by_earlier_builds() {
    let installation = Installation::new();
    let users_db = installation.data().join("users.db");
    assert_migrate_wraps(&installation, |sql| execute_sql(&users_db, sql)).await;
    let mut installation = Installation::new();
    let url = servers::database_url();
    installation.set(DATABASE_URL_SETTING, &url);
    assert_migrate_wraps(&installation, |sql| servers::execute(&url, sql)).await;
}

#[tokio::test]
async fn up_wraps_imported_hashes_while_serving() {
    let installation = Installation::new();
    installation.run(&["migrate"]).assert_success();
    let users_db = installation.data().join("users.db");
    insert_unwrapped_hashes(&installation, |sql| execute_sql(&users_db, sql));
    let server = installation.start_up();
    eventually("wrapped hashes in the log", || server.log().contains("imported hashes are wrapped").then_some(()));
    assert!(installation.run(&["migrate"]).assert_success().stdout.starts_with("keys in "));
    server.stop();
    assert_both_log_in(&installation).await;
}
