//! Password changes that the user store loses in a failover or by restoring a backup, while the state store retains the
//! sessions that were opened after them.

use std::fs;

use stele_testkit::servers;

use crate::client::{DialectClient, DialectKind};
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
        assert_eq!(
            DialectClient::without_credentials(server).is_session_alive(*dialect, token).await,
            Some(false),
            "{dialect:?}, {when}"
        );
    }
}

/// Restores the user store to the state at `backup`, after changes and logins. No session may become valid again.
async fn assert_sessions_stay_revoked(installation: &Installation, backup: impl Fn(), restore: impl Fn()) {
    installation.run(&["migrate"]).assert_success();
    installation.add_user("mark", "old-password", &[]);
    backup();
    let changes: [(&[&str], &str); 3] = [
        (&["user", "passwd", "mark", "--password-stdin"], "new-password"),
        (&["user", "disable", "mark"], ""),
        (&["user", "enable", "mark"], ""),
    ];
    installation.run_with(changes[0].0, changes[0].1).assert_success();
    let server = installation.start_up();
    let after_one_change = log_in(&DialectClient::without_credentials(&server), "new-password").await;
    installation.run_with(changes[1].0, "").assert_success();
    installation.run_with(changes[2].0, "").assert_success();
    let after_three_changes = log_in(&DialectClient::without_credentials(&server), "new-password").await;
    server.stop();
    restore();

    let server = installation.start_up();
    assert_sessions_revoked(&server, &after_one_change, "after the loss").await;
    // As many changes as were lost, so that a counter would reach the old value again.
    for (command, input) in changes {
        installation.run_with(command, input).assert_success();
        assert_sessions_revoked(&server, &after_one_change, command[1]).await;
        assert_sessions_revoked(&server, &after_three_changes, command[1]).await;
    }
    for (_, token) in
        after_one_change.iter().chain(&after_three_changes).filter(|(dialect, _)| *dialect == DialectKind::Jwt)
    {
        let fields = [("account", "mark"), ("password", "by-a-thief")];
        DialectClient::without_credentials(&server)
            .post_form("/api/vi/Auth/updatePassword", &[("token", token)], &fields)
            .await
            .assert_is(401, "-1");
    }
    DialectClient::without_credentials(&server)
        .login_as(DialectKind::Jwt, "mark", "new-password")
        .await
        .assert_success();
    server.stop();
}

#[tokio::test]
async fn sessions_stay_revoked_after_restoring_a_backup() {
    let installation = Installation::with_settings(&SETTINGS);
    // The database file and, if it exists, its WAL.
    let files = ["users.db", "users.db-wal"].map(|file| (installation.data().join(file), installation.path(file)));
    let backup = || {
        for (file, copy) in files.iter().filter(|(file, _)| file.exists()) {
            fs::copy(file, copy).unwrap();
        }
    };
    let restore = || {
        let _ = fs::remove_file(installation.data().join("users.db-shm"));
        for (file, copy) in &files {
            let _ = fs::remove_file(file);
            if copy.exists() {
                fs::copy(copy, file).unwrap();
            }
        }
    };
    assert_sessions_stay_revoked(&installation, backup, restore).await;
}

#[tokio::test]
#[ignore = "needs PostgreSQL and Redis"]
async fn sessions_stay_revoked_after_a_failover() {
    let mut installation = Installation::with_settings(&SETTINGS);
    let settings = servers::store_settings();
    for (name, value) in &settings {
        installation.set(name, value);
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
    assert_sessions_stay_revoked(&installation, backup, restore).await;
}
