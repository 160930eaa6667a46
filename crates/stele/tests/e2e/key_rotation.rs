//! Key rotation and `stele challenge` while servers run and users log in.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::client::{
    CLOUDBOX_CHANGE_PASSWORD, DialectClient, DialectKind, MefpApp, TestUser, encode_base64, password_change_body,
};
use crate::support::{CommandOutput, Installation, Server, eventually};

/// A second installation on the same data, for another process.
fn on_same_data(installation: &Installation) -> Installation {
    Installation::with_settings(&[
        ("STELE_HASH_COST", "64,1,1,weak"),
        ("STELE_DATA", installation.data().to_str().unwrap()),
    ])
}

/// The line of `stele keys list` for a key.
fn find_listed_key(installation: &Installation, key: &str) -> Option<Value> {
    let output = installation.run(&["keys", "list", "--json"]).assert_success().stdout.clone();
    output.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).find(|line| line["key"] == key)
}

fn key_id_of(token: &str) -> String {
    use base64::Engine as _;
    let header = token.split('.').next().unwrap();
    let text = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(header).unwrap();
    serde_json::from_slice::<Value>(&text).unwrap()["kid"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sealing_key_is_rotated_while_two_servers_serve_logins() {
    let installation = Installation::new();
    let first = installation.start_up();
    let second_installation = on_same_data(&installation);
    let second = second_installation.start_up();
    let id = installation.add_user("mark", "a-password", &["--phone", "13800138000"]);
    let app = MefpApp::new("melink", installation.add_app("melink", "melink"));
    installation.run(&["keys", "retire", "1"]).assert_failed(1, "seal-1 is the active key");
    installation.run(&["keys", "retire", "seal-9"]).assert_failed(1, "no key seal-9");

    let (stopped, logins) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let login_tasks: Vec<_> = [&first, &second]
        .map(|server| {
            let (client, stopped, logins) =
                (DialectClient::without_credentials(server), stopped.clone(), logins.clone());
            tokio::spawn(async move {
                while !stopped.load(Ordering::SeqCst) {
                    client.login_as(DialectKind::Cloudbox, "mark", "a-password").await.assert_success();
                    // `fresh_timestamp` has 280 different timestamps in five minutes.
                    tokio::time::sleep(Duration::from_millis(60)).await;
                    logins.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .into();
    let output = installation.run(&["keys", "rotate", "--lead", "1s"]).assert_success().stdout.clone();
    assert!(output.starts_with("seal-2 is registered") && output.ends_with("resealed 2 of 2\n"), "{output}");
    let logins_before = logins.load(Ordering::SeqCst);
    eventually("logins go on", || (logins.load(Ordering::SeqCst) > logins_before + 2).then_some(()));
    stopped.store(true, Ordering::SeqCst);
    for task in login_tasks {
        task.await.unwrap();
    }
    let (old, new) =
        (find_listed_key(&installation, "seal-1").unwrap(), find_listed_key(&installation, "seal-2").unwrap());
    assert_eq!((&old["state"], &old["users"], &old["apps"]), (&"opens".into(), &0.into(), &0.into()));
    assert_eq!((&new["state"], &new["users"], &new["apps"]), (&"seals".into(), &1.into(), &1.into()));

    // Each server decrypts what the other sealed under the new key, before and after the old key is retired.
    DialectClient::without_credentials(&first)
        .post_json(CLOUDBOX_CHANGE_PASSWORD, &[], &password_change_body(&id, "a-password", "password-2"))
        .await
        .assert_success();
    DialectClient::without_credentials(&second)
        .login_as(DialectKind::Cloudbox, "mark", "password-2")
        .await
        .assert_success();
    installation.run(&["keys", "retire", "1"]).assert_success();
    assert!(!installation.data().join("keys/seal-1.key").exists());
    DialectClient::without_credentials(&second)
        .post_json(CLOUDBOX_CHANGE_PASSWORD, &[], &password_change_body(&id, "password-2", "password-3"))
        .await
        .assert_success();
    DialectClient::without_credentials(&first)
        .login_as(DialectKind::Cloudbox, "mark", "password-3")
        .await
        .assert_success();
    let mefp = DialectClient::new(&second, app, "");
    mefp.login_as(DialectKind::Mefp, "13800138000", "password-3").await.assert_success();
    installation.run(&["check"]).assert_success();
    for log in [first.stop(), second.stop()] {
        assert!(!log.contains("ERROR"), "{log}");
    }
    installation.start_up().stop();
}

#[test]
fn a_key_that_is_not_yet_active_can_be_retired_once_its_file_is_removed() {
    let installation = Installation::new();
    installation.run(&["migrate"]).assert_success();
    installation.run(&["keys", "rotate", "--no-reseal", "--lead", "1h"]).assert_success();
    installation.run(&["keys", "rotate"]).assert_failed(1, "seal-2 becomes active at");
    assert_eq!(find_listed_key(&installation, "seal-1").unwrap()["state"], "seals");
    let pending = find_listed_key(&installation, "seal-2").unwrap();
    assert!(pending["state"].as_str().unwrap().starts_with("seals from 20"), "{pending}");
    installation.run(&["keys", "retire", "2"]).assert_failed(1, "seal-2 is the newest key");
    // A key that is not active yet can be retired once its file is removed.
    std::fs::remove_file(installation.data().join("keys/seal-2.key")).unwrap();
    installation.run(&["keys", "retire", "2"]).assert_success();
    // An existing key file is used: copied there, or left by a killed command.
    let foreign_installation = Installation::new();
    foreign_installation.run(&["migrate"]).assert_success();
    std::fs::copy(foreign_installation.data().join("keys/seal-1.key"), installation.data().join("keys/seal-5.key"))
        .unwrap();
    installation.run(&["keys", "rotate", "--no-reseal", "--lead", "0"]).assert_success();
    assert_eq!(find_listed_key(&installation, "seal-5").unwrap()["state"], "seals");
    assert_eq!(find_listed_key(&installation, "seal-1").unwrap()["state"], "opens");
    installation.run(&["keys", "retire", "1"]).assert_success();
    installation.run(&["check"]).assert_success();
}

#[test]
fn a_key_whose_file_cannot_be_copied_stays_registered() {
    let installation = Installation::new();
    installation.run(&["migrate"]).assert_success();
    installation.run(&["keys", "rotate", "--no-reseal", "--lead", "0"]).assert_success();
    let backup = installation.data().join("keys/seal-1.key.retired");
    std::fs::write(&backup, "an earlier key with this number").unwrap();
    installation.run(&["keys", "retire", "1"]).assert_failed(2, "seal-1.key.retired: a different file has this name");
    assert_eq!(find_listed_key(&installation, "seal-1").unwrap()["here"], "here");
    // An identical file, left by a killed command, does no harm.
    std::fs::copy(installation.data().join("keys/seal-1.key"), &backup).unwrap();
    installation.run(&["keys", "retire", "1"]).assert_success();
    assert!(
        find_listed_key(&installation, "seal-1").is_none()
            && backup.exists()
            && !installation.data().join("keys/seal-1.key").exists()
    );

    // The file of a key that is refused for another reason is not copied.
    installation.add_user("mark", "a-password", &[]);
    installation.run(&["keys", "rotate", "--no-reseal", "--lead", "0"]).assert_success();
    installation.run(&["keys", "retire", "2"]).assert_failed(1, "1 rows are sealed under it");
    assert!(!installation.data().join("keys/seal-2.key.retired").exists());
    installation.run(&["check"]).assert_success();
}

#[tokio::test]
async fn tokens_of_the_old_and_new_signing_key_are_accepted() {
    let installation = Installation::new();
    let first = installation.start_up();
    let second_installation = on_same_data(&installation);
    let second_server = second_installation.start_up();
    installation.add_user("mark", "a-password", &[]);
    let first = DialectClient::without_credentials(&first);
    let second = DialectClient::without_credentials(&second_server);
    let log_in = async || first.login_as(DialectKind::Jwt, "mark", "a-password").await.assert_success().token();
    // A token serves for one check, which logs out.
    let (old, other_old) = (log_in().await, log_in().await);
    assert_eq!([key_id_of(&old), key_id_of(&other_old)], ["eddsa-1", "eddsa-1"]);
    installation.run(&["keys", "rotate", "--jwt", "--lead", "2s"]).assert_success();
    // One server loads the new key; the other must load it when it first sees a token signed with it.
    let mut new = old.clone();
    while key_id_of(&new) == "eddsa-1" {
        new = log_in().await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(key_id_of(&new), "eddsa-2");
    let other_new = log_in().await;
    let tokens = [old, new];
    for token in &tokens {
        assert_eq!(second.is_session_alive(DialectKind::Jwt, token).await, Some(true), "{}", key_id_of(token));
    }
    installation.run(&["keys", "retire", "jwt-eddsa-1"]).assert_failed(1, "tokens that it signed are valid until");
    installation.run(&["keys", "retire", "jwt-eddsa-2"]).assert_failed(1, "jwt-eddsa-2 is the active key");
    assert_eq!(find_listed_key(&installation, "jwt-eddsa-1").unwrap()["state"], "verifies");
    assert_eq!(find_listed_key(&installation, "jwt-eddsa-2").unwrap()["state"], "signs");
    // A key that has leaked is retired at once, but never the active one.
    installation.run(&["keys", "retire", "--compromised", "jwt-eddsa-2"]).assert_failed(1, "is the active key");
    installation.run(&["keys", "retire", "--compromised", "jwt-eddsa-1"]).assert_success();
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while fetch_keys(&second_server.url).await.contains("eddsa-1") {
        assert!(std::time::Instant::now() < deadline, "the retired key is still published");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let alive = async |token: &str| second.is_session_alive(DialectKind::Jwt, token).await;
    assert_eq!((alive(&other_old).await, alive(&other_new).await), (Some(false), Some(true)));
}

/// The published keys of a server.
async fn fetch_keys(url: &str) -> String {
    reqwest::get(format!("{url}/oauth2/jwks")).await.unwrap().text().await.unwrap()
}

/// Registers users at the portal, all with the same password; returns their phones.
async fn register_users(server: &Server, count: usize) -> Vec<String> {
    let client = DialectClient::without_credentials(server);
    let mut phones = Vec::new();
    for n in 0..count {
        let phone = format!("139{n:08}");
        client.post_form("/code/send", &[], &[("username", &phone)]).await.assert_is(200, "200");
        let code = encode_base64(&server.next_code(&phone, 0));
        let fields = [("username", phone.as_str()), ("password", &encode_base64("a-password")), ("code", &code)];
        client.post_form("/i/register", &[], &fields).await.assert_is(200, "200");
        phones.push(phone);
    }
    phones
}

#[tokio::test]
async fn an_interrupted_reseal_is_resumed() {
    let count = 230;
    let mut installation = Installation::new();
    for name in ["STELE_SEND_ADDRESS", "STELE_LIMIT_ADDRESS"] {
        installation.set(name, "1000000");
    }
    let server = installation.start_up();
    let phones = register_users(&server, count).await;
    let count_rows =
        |key: u32| find_listed_key(&installation, &format!("seal-{key}")).unwrap()["users"].as_u64().unwrap();
    let mut delay = Duration::from_millis(100);
    let mut key = 1;
    let mut tries = 0;
    loop {
        assert!(tries < 30, "no kill interrupted the reseal");
        tries += 1;
        installation.run(&["keys", "rotate", "--no-reseal", "--lead", "0"]).assert_success();
        key += 1;
        let mut child = installation.command(&["keys", "reseal"]).spawn().unwrap();
        tokio::time::sleep(delay).await;
        child.kill().unwrap();
        child.wait().unwrap();
        match count_rows(key) {
            0 => delay = delay * 3 / 2,
            done if done == count as u64 => delay = delay * 2 / 3,
            resealed => {
                assert!(resealed % 50 == 0, "batches are atomic: {resealed}");
                break;
            }
        }
        // Reseals the remaining rows before the next rotation.
        installation.run(&["keys", "reseal"]).assert_success();
    }
    installation.run(&["keys", "retire", &(key - 1).to_string()]).assert_failed(1, "rows are sealed under it");
    let client = DialectClient::without_credentials(&server);
    for phone in [&phones[0], &phones[count - 1]] {
        client.login_as(DialectKind::Cloudbox, phone, "a-password").await.assert_success();
    }
    let output = installation.run(&["keys", "reseal", "--json"]).assert_success().stdout.clone();
    let last: Value = serde_json::from_str(output.lines().last().unwrap()).unwrap();
    assert!(last["resealed"].as_u64().is_some_and(|resealed| resealed > 0 && resealed < count as u64), "{output}");
    assert_eq!(count_rows(key), count as u64);
    for old in 1..key {
        installation.run(&["keys", "retire", &old.to_string()]).assert_success();
    }
    for phone in &phones {
        client.login_as(DialectKind::Cloudbox, phone, "a-password").await.assert_success();
    }
    installation.run(&["keys", "reseal"]).assert_success();
    server.stop();
}

fn disable_challenge(installation: &Installation) -> CommandOutput {
    installation.run(&["challenge", "off", "--yes", "--json"])
}

#[tokio::test]
async fn salted_logins_are_disabled_and_enabled_in_running_servers() {
    let installation = Installation::new();
    let server = installation.start_up();
    let id = installation.add_user("mark", "a-password", &[]);
    installation.add_user("other", "a-password", &[]);
    let person = TestUser { id, name: "mark".into(), phone: String::new(), email: "mark".into() };
    let client = DialectClient::without_credentials(&server);
    client.login(DialectKind::Cloudbox, &person, "a-password").await.assert_success();
    // The salted login is recorded asynchronously, soon after the response.
    let output = eventually("the salted login is recorded", || {
        let output = installation.run(&["challenge", "off"]);
        assert_eq!(output.code, Some(2), "{output:?}");
        output.stdout.contains("1 users have logged in with salted proofs, 1 of them").then_some(output)
    });
    assert!(output.stdout.contains("2 sealed digests") && output.stderr.contains("--yes"), "{output:?}");
    client.login(DialectKind::Cloudbox, &person, "a-password").await.assert_success();

    let output = disable_challenge(&installation).assert_success().stdout.clone();
    let lines: Vec<Value> = output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["salted_users"], &lines[0]["seals"]), (&1.into(), &2.into()), "{output}");
    assert_eq!(lines.last().unwrap()["erased"], 2, "{output}");
    client.login(DialectKind::Cloudbox, &person, "a-password").await.assert_is(200, "1002");
    // While salted logins are disabled, neither a login with the password nor a new password stores a digest.
    client.login(DialectKind::Jwt, &person, "a-password").await.assert_success();
    installation.run_with(&["user", "passwd", "other", "--password-stdin"], "another-one").assert_success();
    installation.add_user("third", "a-password", &[]);
    let second_output: Value =
        serde_json::from_str(disable_challenge(&installation).assert_success().stdout.lines().next().unwrap()).unwrap();
    assert_eq!(second_output["seals"], 0);

    installation.run(&["challenge", "on"]).assert_success();
    while !client.login(DialectKind::Cloudbox, &person, "a-password").await.is_success() {
        client.login(DialectKind::Jwt, &person, "a-password").await.assert_success();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    server.stop();
}
