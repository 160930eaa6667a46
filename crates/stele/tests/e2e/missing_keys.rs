//! Wrong or missing keys: an error at the start, and a server error, never a failed login, in a running server.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::client::{CLOUDBOX_LOGIN, DialectClient, DialectKind, salted_login_body};
use crate::support::{Installation, eventually};

const UP_ARGS: [&str; 3] = ["up", "--listen", "127.0.0.1:0"];

fn installation_without_warnings() -> Installation {
    Installation::with_settings(&[("STELE_HASH_COST", "64,1,1,weak"), ("STELE_LOG", "error")])
}

/// Restores a key file with its mode, as a backup does.
fn restore_key(file: &Path, key: &[u8]) {
    fs::write(file, key).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn a_wrong_or_missing_key_is_reported_at_startup() {
    let (installation, other_installation) = (installation_without_warnings(), installation_without_warnings());
    for installation in [&installation, &other_installation] {
        installation.run(&["migrate"]).assert_success();
        installation.run(&["keys", "rotate", "--no-reseal", "--lead", "0"]).assert_success();
        installation.run(&["keys", "rotate", "--no-reseal", "--lead", "0", "--jwt"]).assert_success();
    }
    let commands: [&[&str]; 4] = [&UP_ARGS, &["migrate"], &["user", "list"], &["app", "add", "x"]];
    for (key, file) in [("seal-1", "seal-1.key"), ("seal-2", "seal-2.key"), ("mac", "mac.key")] {
        let (own, foreign) =
            (installation.data().join("keys").join(file), other_installation.data().join("keys").join(file));
        let good = fs::read(&own).unwrap();
        fs::copy(foreign, &own).unwrap();
        for command in commands {
            installation.run(command).assert_failed(2, &format!("keys/{file}: this is not the key {key}"));
        }
        fs::remove_file(&own).unwrap();
        for command in commands {
            installation.run(command).assert_failed(2, file);
        }
        assert!(!own.exists(), "no command recreates a lost key");
        restore_key(&own, &good);
    }
    for number in [1, 2] {
        let file = format!("jwt-eddsa-{number}.pem");
        let own = installation.data().join("keys").join(&file);
        let good = fs::read(&own).unwrap();
        fs::copy(other_installation.data().join("keys").join(&file), &own).unwrap();
        installation.run(&UP_ARGS).assert_failed(2, &format!("this is not the key jwt-eddsa-{number}"));
        fs::remove_file(&own).unwrap();
        installation.run(&UP_ARGS).assert_failed(2, &format!("the key jwt-eddsa-{number} is registered, but missing"));
        restore_key(&own, &good);
    }
    installation.run(&["check"]).assert_success();
}

#[tokio::test]
async fn a_running_server_without_a_key_returns_a_server_error_and_counts_no_failure() {
    let installation = Installation::new();
    let server = installation.start_up();
    // Another machine with a separate key folder, where the new key is created.
    let keys = installation.path("other-keys");
    fs::create_dir(&keys).unwrap();
    for entry in fs::read_dir(installation.data().join("keys")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), keys.join(entry.file_name())).unwrap();
    }
    let mut other_machine = Installation::with_settings(&[
        ("STELE_HASH_COST", "64,1,1,weak"),
        ("STELE_DATA", installation.data().to_str().unwrap()),
    ]);
    other_machine.set("STELE_KEYS", keys.to_str().unwrap());
    other_machine.run(&["keys", "rotate", "--no-reseal", "--lead", "0"]).assert_success();
    other_machine.add_user("mark", "a-password", &[]);

    let client = DialectClient::without_credentials(&server);
    for password in ["a-password", "wrong"].into_iter().cycle().take(20) {
        client.post_json(CLOUDBOX_LOGIN, &[], &salted_login_body("mark", password)).await.assert_is(500, "1009");
    }
    for message in
        ["the sealing key seal-2 is missing here", "seal-2.key: the key seal-2 is registered, but missing here"]
    {
        eventually(message, || server.log().contains(message).then_some(()));
    }
    // A login with the raw password needs no sealing key, so it works.
    client.login_as(DialectKind::Jwt, "mark", "a-password").await.assert_success();
    client.login_as(DialectKind::Jwt, "mark", "wrong").await.assert_is(200, "-1");

    // No failure was counted, so the owner can log in as soon as the key is present.
    fs::copy(keys.join("seal-2.key"), installation.data().join("keys/seal-2.key")).unwrap();
    loop {
        let response = client.post_json(CLOUDBOX_LOGIN, &[], &salted_login_body("mark", "a-password")).await;
        if response.status != 500 {
            response.assert_success();
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    server.stop();
}
