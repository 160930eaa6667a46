//! `stele migrate`, by many at once, and what is told to who comes before it.

use std::process::Child;

use stele_testkit::servers;

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
fn many_may_migrate_at_once() {
    let mut home = Home::new();
    at_once(&home);
    home.run(&["user", "list"]).done();
    home.set(SHARED_URL, &servers::database_url());
    at_once(&home);
    home.run(&["user", "list"]).done();
}

#[test]
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
