//! Changes of a password that the database loses, in a failover or by restoring a backup, while the short-lived store
//! keeps the sessions that were opened under them.

use std::fs;

use stele_testkit::servers;

use crate::client::{Client, Dialect};
use crate::keys::client;
use crate::support::{Home, Server};

const SETTINGS: [(&str, &str); 1] = [("STELE_HASH_COST", "64,1,1,weak")];
const DIALECTS: [Dialect; 2] = [Dialect::Cloudbox, Dialect::Jwt];

async fn log_in(client: &Client, password: &str) -> Vec<(Dialect, String)> {
    let mut tokens = Vec::new();
    for dialect in DIALECTS {
        tokens.push((dialect, client.login_as(dialect, "mark", password).await.good().token()));
    }
    tokens
}

async fn all_dead(server: &Server, tokens: &[(Dialect, String)], when: &str) {
    for (dialect, token) in tokens {
        assert_eq!(client(server).alive(*dialect, token).await, Some(false), "{dialect:?}, {when}");
    }
}

/// Brings the users back to where they were at `backup`, after a change under which sessions were opened.
async fn sessions_of_a_lost_change_stay_dead(home: &Home, backup: impl Fn(), restore: impl Fn()) {
    home.run(&["migrate"]).done();
    home.add_user("mark", "old-password", &[]);
    backup();
    let changes: [(&[&str], &str); 3] = [
        (&["user", "passwd", "mark", "--password-stdin"], "new-password"),
        (&["user", "disable", "mark"], ""),
        (&["user", "enable", "mark"], ""),
    ];
    home.run_with(changes[0].0, changes[0].1).done();
    let server = home.up();
    let once = log_in(&client(&server), "new-password").await;
    home.run_with(changes[1].0, "").done();
    home.run_with(changes[2].0, "").done();
    let thrice = log_in(&client(&server), "new-password").await;
    server.stop();
    restore();

    let server = home.up();
    all_dead(&server, &once, "after the loss").await;
    // As many changes as were lost, so that whatever is counted comes to where it was.
    for (command, input) in changes {
        home.run_with(command, input).done();
        all_dead(&server, &once, command[1]).await;
        all_dead(&server, &thrice, command[1]).await;
    }
    for (_, token) in once.iter().chain(&thrice).filter(|(dialect, _)| *dialect == Dialect::Jwt) {
        let fields = [("account", "mark"), ("password", "by-a-thief")];
        client(&server).form("/api/vi/Auth/updatePassword", &[("token", token)], &fields).await.is(401, "-1");
    }
    client(&server).login_as(Dialect::Jwt, "mark", "new-password").await.good();
    server.stop();
}

#[tokio::test]
async fn sessions_of_a_change_that_a_restored_file_lost_stay_dead() {
    let home = Home::with(&SETTINGS);
    // The file and, where it was not written back yet, its log.
    let files = ["users.db", "users.db-wal"].map(|file| (home.data().join(file), home.path(file)));
    let backup = || {
        for (file, kept) in files.iter().filter(|(file, _)| file.exists()) {
            fs::copy(file, kept).unwrap();
        }
    };
    let restore = || {
        let _ = fs::remove_file(home.data().join("users.db-shm"));
        for (file, kept) in &files {
            let _ = fs::remove_file(file);
            if kept.exists() {
                fs::copy(kept, file).unwrap();
            }
        }
    };
    sessions_of_a_lost_change_stay_dead(&home, backup, restore).await;
}

#[tokio::test]
#[ignore = "needs PostgreSQL and Redis"]
async fn sessions_of_a_change_that_a_failover_lost_stay_dead() {
    let mut home = Home::with(&SETTINGS);
    let settings = servers::settings();
    for (name, value) in &settings {
        home.set(name, value);
    }
    let execute = |sql: &str| servers::execute(&settings[0].1, sql);
    let backup =
        || execute("CREATE TABLE before AS SELECT number, disabled, verifier, seal_key_id, sealed, epoch FROM users");
    let restore = || {
        execute(
            "UPDATE users SET disabled = b.disabled, verifier = b.verifier, seal_key_id = b.seal_key_id, \
             sealed = b.sealed, epoch = b.epoch FROM before b WHERE b.number = users.number",
        );
    };
    sessions_of_a_lost_change_stay_dead(&home, backup, restore).await;
}
