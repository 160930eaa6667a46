//! Changes of a password that the database loses, in a failover or by restoring a backup, while the short-lived store
//! keeps the sessions that were opened under them.

use std::fs;

use stele_testkit::servers;

use crate::client::{DialectClient, DialectKind};
use crate::key_rotation::client_of;
use crate::support::{Installation, Server};

const SETTINGS: [(&str, &str); 1] = [("STELE_HASH_COST", "64,1,1,weak")];
const DIALECTS: [DialectKind; 2] = [DialectKind::Cloudbox, DialectKind::Jwt];

async fn log_in(client: &DialectClient, password: &str) -> Vec<(DialectKind, String)> {
    let mut tokens = Vec::new();
    for dialect in DIALECTS {
        tokens.push((dialect, client.login_as(dialect, "mark", password).await.assert_success().token()));
    }
    tokens
}

async fn assert_sessions_revoked(server: &Server, tokens: &[(DialectKind, String)], when: &str) {
    for (dialect, token) in tokens {
        assert_eq!(client_of(server).is_session_alive(*dialect, token).await, Some(false), "{dialect:?}, {when}");
    }
}

/// Brings the users back to where they were at `backup`, after a change under which sessions were opened.
async fn assert_sessions_stay_revoked(home: &Installation, backup: impl Fn(), restore: impl Fn()) {
    home.run(&["migrate"]).assert_success();
    home.add_user("mark", "old-password", &[]);
    backup();
    let changes: [(&[&str], &str); 3] = [
        (&["user", "passwd", "mark", "--password-stdin"], "new-password"),
        (&["user", "disable", "mark"], ""),
        (&["user", "enable", "mark"], ""),
    ];
    home.run_with(changes[0].0, changes[0].1).assert_success();
    let server = home.start_up();
    let once = log_in(&client_of(&server), "new-password").await;
    home.run_with(changes[1].0, "").assert_success();
    home.run_with(changes[2].0, "").assert_success();
    let thrice = log_in(&client_of(&server), "new-password").await;
    server.stop();
    restore();

    let server = home.start_up();
    assert_sessions_revoked(&server, &once, "after the loss").await;
    // As many changes as were lost, so that whatever is counted comes to where it was.
    for (command, input) in changes {
        home.run_with(command, input).assert_success();
        assert_sessions_revoked(&server, &once, command[1]).await;
        assert_sessions_revoked(&server, &thrice, command[1]).await;
    }
    for (_, token) in once.iter().chain(&thrice).filter(|(dialect, _)| *dialect == DialectKind::Jwt) {
        let fields = [("account", "mark"), ("password", "by-a-thief")];
        client_of(&server).form("/api/vi/Auth/updatePassword", &[("token", token)], &fields).await.assert_is(401, "-1");
    }
    client_of(&server).login_as(DialectKind::Jwt, "mark", "new-password").await.assert_success();
    server.stop();
}

#[tokio::test]
async fn sessions_stay_revoked_after_restoring_a_backup() {
    let home = Installation::with_settings(&SETTINGS);
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
    assert_sessions_stay_revoked(&home, backup, restore).await;
}

#[tokio::test]
#[ignore = "needs PostgreSQL and Redis"]
async fn sessions_stay_revoked_after_a_failover() {
    let mut home = Installation::with_settings(&SETTINGS);
    let settings = servers::store_settings();
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
    assert_sessions_stay_revoked(&home, backup, restore).await;
}
