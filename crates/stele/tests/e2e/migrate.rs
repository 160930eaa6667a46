//! `stele migrate`, by many at once, and what is told to who comes before it.

use std::process::{Child, Command};

use stele_testkit::servers;

use crate::client::{Dialect, md5_hex};
use crate::keys::client;
use crate::support::{Home, eventually};

const SHARED_URL: &str = "STELE_DATABASE_URL";

/// Eight processes migrate at once; all of them succeed.
fn at_once(home: &Home) {
    let mut migrating: Vec<Child> = (0..8).map(|_| home.command(&["migrate"]).spawn().unwrap()).collect();
    for child in &mut migrating {
        assert!(eventually("the end of stele migrate", || child.try_wait().unwrap()).success());
    }
}

#[test]
#[ignore = "needs PostgreSQL and Redis"]
fn many_may_migrate_at_once() {
    let mut home = Home::new();
    at_once(&home);
    home.run(&["user", "list"]).done();
    home.set(SHARED_URL, &servers::database_url());
    at_once(&home);
    home.run(&["user", "list"]).done();
}

#[test]
#[ignore = "needs PostgreSQL and Redis"]
fn a_postgresql_schema_is_migrated_by_the_command_alone() {
    let mut home = Home::new();
    home.set(SHARED_URL, &servers::database_url());
    home.run(&["migrate"]).done();
    home.run(&["user", "list"]).done();
    home.unset();
    let empty = servers::database_url();
    home.set(SHARED_URL, &empty);
    for command in [&["user", "list"][..], &["check"]] {
        let told = home.run(command);
        assert_eq!(told.code, Some(2), "{told:?}");
        assert!(told.stderr.contains("is empty; run `stele migrate` first"), "{told:?}");
    }
    home.run(&["migrate"]).done();
    home.run(&["user", "list"]).done();
    servers::execute(&empty, "INSERT INTO __diesel_schema_migrations (version) VALUES ('9999')");
    home.run(&["user", "list"]).refused(2, "newer schema");
    home.run(&["migrate"]).refused(2, "newer");
}

/// Has a statement executed in the embedded database.
fn execute(home: &Home, sql: &str) {
    let program = "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); db.execute(sys.argv[2]); db.commit()";
    let file = home.data().join("users.db");
    assert!(Command::new("python3").args(["-c", program]).arg(file).arg(sql).status().unwrap().success());
}

/// Users with hashes as earlier builds imported them: salted md5, and `D` beside an empty salt.
fn imported_before(home: &Home, execute: impl Fn(&str)) {
    for (name, verifier) in [
        ("salted", format!("{{raw}}$md5ps$6162${}", md5_hex("secret-1ab"))),
        ("unsalted", format!("{{raw}}$md5sp$${}", md5_hex("secret-1"))),
    ] {
        home.add_user(name, "unused-1", &[]);
        let bare = "seal_key_id = NULL, sealed = NULL";
        execute(&format!("UPDATE users SET verifier = '{verifier}', {bare} WHERE name = '{name}'"));
    }
}

async fn both_get_in(home: &Home) {
    let server = home.up();
    for name in ["salted", "unsalted"] {
        client(&server).login_as(Dialect::Jwt, name, "wrong-1").await.is(200, "-1");
        client(&server).login_as(Dialect::Jwt, name, "secret-1").await.good();
        client(&server).login_as(Dialect::Cloudbox, name, "secret-1").await.good();
    }
    server.stop();
}

async fn migrate_wraps(home: &Home, execute: impl Fn(&str)) {
    home.run(&["migrate"]).done();
    imported_before(home, &execute);
    // A schema of an earlier build, whose instances may still run and could not read a wrapped hash.
    execute("DELETE FROM __diesel_schema_migrations WHERE version = '0013'");
    execute("DROP INDEX users_with_earlier_hash");
    let printed = home.run(&["migrate"]).done().stdout.clone();
    assert!(printed.contains("run `stele migrate` again"), "{printed}");
    let printed = home.run(&["migrate"]).done().stdout.clone();
    assert!(printed.starts_with("imported hashes wrapped: 2 of 2\n"), "{printed}");
    let printed = home.run(&["migrate"]).done().stdout.clone();
    assert!(printed.starts_with("keys in "), "nothing is left to do: {printed}");
    both_get_in(home).await;
}

#[tokio::test]
#[ignore = "needs PostgreSQL and Redis"]
async fn migrate_wraps_what_earlier_builds_imported() {
    let home = Home::new();
    migrate_wraps(&home, |sql| execute(&home, sql)).await;
    let mut home = Home::new();
    let url = servers::database_url();
    home.set(SHARED_URL, &url);
    migrate_wraps(&home, |sql| servers::execute(&url, sql)).await;
}

#[tokio::test]
async fn so_does_up_while_it_serves() {
    let home = Home::new();
    home.run(&["migrate"]).done();
    imported_before(&home, |sql| execute(&home, sql));
    let server = home.up();
    eventually("the wrapping", || server.log().contains("imported hashes are wrapped").then_some(()));
    assert!(home.run(&["migrate"]).done().stdout.starts_with("keys in "));
    server.stop();
    both_get_in(&home).await;
}
