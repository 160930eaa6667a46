//! Keys that are wrong or missing: named at the start, and our fault, never the user's, in a running server.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::client::{CLOUDBOX_LOGIN, DialectKind, salted_login_body};
use crate::key_rotation::client_of;
use crate::support::{Installation, eventually};

const UP_ARGS: [&str; 3] = ["up", "--listen", "127.0.0.1:0"];

fn installation_without_warnings() -> Installation {
    Installation::with_settings(&[("STELE_HASH_COST", "64,1,1,weak"), ("STELE_LOG", "error")])
}

/// As a backup does that keeps modes.
fn restore_key(file: &Path, key: &[u8]) {
    fs::write(file, key).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn a_wrong_or_missing_key_is_reported_at_startup() {
    let (home, stranger) = (installation_without_warnings(), installation_without_warnings());
    for home in [&home, &stranger] {
        home.run(&["migrate"]).assert_success();
        home.run(&["keys", "rotate", "--no-reseal", "--lead", "0"]).assert_success();
        home.run(&["keys", "rotate", "--no-reseal", "--lead", "0", "--jwt"]).assert_success();
    }
    let starts: [&[&str]; 4] = [&UP_ARGS, &["migrate"], &["user", "list"], &["app", "add", "x"]];
    for (key, file) in [("seal-1", "seal-1.key"), ("seal-2", "seal-2.key"), ("mac", "mac.key")] {
        let (own, strange) = (home.data().join("keys").join(file), stranger.data().join("keys").join(file));
        let good = fs::read(&own).unwrap();
        fs::copy(strange, &own).unwrap();
        for start in starts {
            home.run(start).assert_failed(2, &format!("keys/{file}: this is not the key {key}"));
        }
        fs::remove_file(&own).unwrap();
        for start in starts {
            home.run(start).assert_failed(2, file);
        }
        assert!(!own.exists(), "no start makes a key that is lost");
        restore_key(&own, &good);
    }
    for number in [1, 2] {
        let file = format!("jwt-eddsa-{number}.pem");
        let own = home.data().join("keys").join(&file);
        let good = fs::read(&own).unwrap();
        fs::copy(stranger.data().join("keys").join(&file), &own).unwrap();
        home.run(&UP_ARGS).assert_failed(2, &format!("this is not the key jwt-eddsa-{number}"));
        fs::remove_file(&own).unwrap();
        home.run(&UP_ARGS).assert_failed(2, &format!("the key jwt-eddsa-{number} is in service, but missing"));
        restore_key(&own, &good);
    }
    home.run(&["check"]).assert_success();
}

#[tokio::test]
async fn a_running_server_without_a_key_returns_a_server_error_and_counts_no_failure() {
    let home = Installation::new();
    let server = home.start_up();
    // Another machine with a key folder of its own, where the new key is made first.
    let keys = home.path("other-keys");
    fs::create_dir(&keys).unwrap();
    for entry in fs::read_dir(home.data().join("keys")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), keys.join(entry.file_name())).unwrap();
    }
    let mut other = Installation::with_settings(&[
        ("STELE_HASH_COST", "64,1,1,weak"),
        ("STELE_DATA", home.data().to_str().unwrap()),
    ]);
    other.set("STELE_KEYS", keys.to_str().unwrap());
    other.run(&["keys", "rotate", "--no-reseal", "--lead", "0"]).assert_success();
    other.add_user("mark", "a-password", &[]);

    let client = client_of(&server);
    for password in ["a-password", "wrong"].into_iter().cycle().take(20) {
        client.json(CLOUDBOX_LOGIN, &[], &salted_login_body("mark", password)).await.assert_is(500, "1009");
    }
    for message in
        ["the sealing key seal-2 is missing here", "seal-2.key: the key seal-2 is in service, but missing here"]
    {
        eventually(message, || server.log().contains(message).then_some(()));
    }
    // The user is found and their password is right: a proof that needs no seal works.
    client.login_as(DialectKind::Jwt, "mark", "a-password").await.assert_success();
    client.login_as(DialectKind::Jwt, "mark", "wrong").await.assert_is(200, "-1");

    // Nothing was counted, so the owner gets in as soon as the key is there.
    fs::copy(keys.join("seal-2.key"), home.data().join("keys/seal-2.key")).unwrap();
    loop {
        let answer = client.json(CLOUDBOX_LOGIN, &[], &salted_login_body("mark", "a-password")).await;
        if answer.status != 500 {
            answer.assert_success();
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    server.stop();
}
