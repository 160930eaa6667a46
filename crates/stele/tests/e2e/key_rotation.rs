//! Keys put in service and taken out of it, and salted logins ended, while servers run and people log in.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::client::{
    CLOUDBOX_CHANGE_PASSWORD, DialectClient, DialectKind, MefpApp, TestUser, base64, password_change_body,
};
use crate::support::{CommandOutput, Installation, Server, eventually};

/// A client that needs no app.
pub(crate) fn client_of(server: &Server) -> DialectClient {
    DialectClient::new(server, MefpApp::new("none", Default::default()), "")
}

/// A second home on the first one's data, for another process.
fn on_same_data(home: &Installation) -> Installation {
    Installation::with_settings(&[("STELE_HASH_COST", "64,1,1,weak"), ("STELE_DATA", home.data().to_str().unwrap())])
}

/// What `stele keys list` says of a key.
fn listed_key(home: &Installation, key: &str) -> Option<Value> {
    let output = home.run(&["keys", "list", "--json"]).assert_success().stdout.clone();
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
    let home = Installation::new();
    let one = home.start_up();
    let other = on_same_data(&home);
    let two = other.start_up();
    let id = home.add_user("mark", "a-password", &["--phone", "13800138000"]);
    let app = MefpApp::new("melink", home.add_app("melink", "melink"));
    home.run(&["keys", "retire", "1"]).assert_failed(1, "seal-1 is the key that works");
    home.run(&["keys", "retire", "seal-9"]).assert_failed(1, "no key seal-9");

    let (over, logins) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let going_on: Vec<_> = [&one, &two]
        .map(|server| {
            let (client, over, logins) = (client_of(server), over.clone(), logins.clone());
            tokio::spawn(async move {
                while !over.load(Ordering::SeqCst) {
                    client.login_as(DialectKind::Cloudbox, "mark", "a-password").await.assert_success();
                    // The clients of a test have 280 timestamps each five minutes.
                    tokio::time::sleep(Duration::from_millis(60)).await;
                    logins.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .into();
    let output = home.run(&["keys", "rotate", "--lead", "1s"]).assert_success().stdout.clone();
    assert!(output.starts_with("seal-2 is in service") && output.ends_with("resealed 2 of 2\n"), "{output}");
    let seen = logins.load(Ordering::SeqCst);
    eventually("logins go on", || (logins.load(Ordering::SeqCst) > seen + 2).then_some(()));
    over.store(true, Ordering::SeqCst);
    for task in going_on {
        task.await.unwrap();
    }
    let (old, new) = (listed_key(&home, "seal-1").unwrap(), listed_key(&home, "seal-2").unwrap());
    assert_eq!((&old["state"], &old["users"], &old["apps"]), (&"opens".into(), &0.into(), &0.into()));
    assert_eq!((&new["state"], &new["users"], &new["apps"]), (&"seals".into(), &1.into(), &1.into()));

    // What one seals under the new key the other opens, before and after the old one is gone.
    client_of(&one)
        .json(CLOUDBOX_CHANGE_PASSWORD, &[], &password_change_body(&id, "a-password", "password-2"))
        .await
        .assert_success();
    client_of(&two).login_as(DialectKind::Cloudbox, "mark", "password-2").await.assert_success();
    home.run(&["keys", "retire", "1"]).assert_success();
    assert!(!home.data().join("keys/seal-1.key").exists());
    client_of(&two)
        .json(CLOUDBOX_CHANGE_PASSWORD, &[], &password_change_body(&id, "password-2", "password-3"))
        .await
        .assert_success();
    client_of(&one).login_as(DialectKind::Cloudbox, "mark", "password-3").await.assert_success();
    let mefp = DialectClient::new(&two, app, "");
    mefp.login_as(DialectKind::Mefp, "13800138000", "password-3").await.assert_success();
    home.run(&["check"]).assert_success();
    for log in [one.stop(), two.stop()] {
        assert!(!log.contains("ERROR"), "{log}");
    }
    home.start_up().stop();
}

#[test]
fn a_key_that_is_not_yet_active_can_be_retired() {
    let home = Installation::new();
    home.run(&["migrate"]).assert_success();
    home.run(&["keys", "rotate", "--no-reseal", "--lead", "1h"]).assert_success();
    home.run(&["keys", "rotate"]).assert_failed(1, "seal-2 is to work only from");
    assert_eq!(listed_key(&home, "seal-1").unwrap()["state"], "seals");
    let pending = listed_key(&home, "seal-2").unwrap();
    assert!(pending["state"].as_str().unwrap().starts_with("seals from 20"), "{pending}");
    home.run(&["keys", "retire", "2"]).assert_failed(1, "seal-2 is the key that works");
    // It is not to work for an hour, and is not missed: taken back by who removes it.
    std::fs::remove_file(home.data().join("keys/seal-2.key")).unwrap();
    home.run(&["keys", "retire", "2"]).assert_success();
    // One that lies there already is taken: copied there first, or made by a command that was killed.
    let strange = Installation::new();
    strange.run(&["migrate"]).assert_success();
    std::fs::copy(strange.data().join("keys/seal-1.key"), home.data().join("keys/seal-5.key")).unwrap();
    home.run(&["keys", "rotate", "--no-reseal", "--lead", "0"]).assert_success();
    assert_eq!(listed_key(&home, "seal-5").unwrap()["state"], "seals");
    assert_eq!(listed_key(&home, "seal-1").unwrap()["state"], "opens");
    home.run(&["keys", "retire", "1"]).assert_success();
    home.run(&["check"]).assert_success();
}

#[test]
fn a_key_whose_file_cannot_be_moved_stays_active() {
    let home = Installation::new();
    home.run(&["migrate"]).assert_success();
    home.run(&["keys", "rotate", "--no-reseal", "--lead", "0"]).assert_success();
    let kept = home.data().join("keys/seal-1.key.retired");
    std::fs::write(&kept, "another key of this number, that was taken back").unwrap();
    home.run(&["keys", "retire", "1"]).assert_failed(2, "seal-1.key.retired: there is something else by this name");
    assert_eq!(listed_key(&home, "seal-1").unwrap()["here"], "here");
    // What was linked by a command that was killed is no hindrance.
    std::fs::copy(home.data().join("keys/seal-1.key"), &kept).unwrap();
    home.run(&["keys", "retire", "1"]).assert_success();
    assert!(listed_key(&home, "seal-1").is_none() && kept.exists() && !home.data().join("keys/seal-1.key").exists());

    // Neither is a key put aside that is refused for another reason.
    home.add_user("mark", "a-password", &[]);
    home.run(&["keys", "rotate", "--no-reseal", "--lead", "0"]).assert_success();
    home.run(&["keys", "retire", "2"]).assert_failed(1, "1 rows are sealed under it");
    assert!(!home.data().join("keys/seal-2.key.retired").exists());
    home.run(&["check"]).assert_success();
}

#[tokio::test]
async fn tokens_of_the_old_and_new_signing_key_are_accepted() {
    let home = Installation::new();
    let one = home.start_up();
    let other = on_same_data(&home);
    let two = other.start_up();
    home.add_user("mark", "a-password", &[]);
    let (one, two) = (client_of(&one), client_of(&two));
    let old = one.login_as(DialectKind::Jwt, "mark", "a-password").await.assert_success().token();
    assert_eq!(key_id_of(&old), "eddsa-1");
    home.run(&["keys", "rotate", "--jwt", "--lead", "2s"]).assert_success();
    // One of them takes it up; the other has to take it up at once when it sees what that one signed.
    let mut new = old.clone();
    while key_id_of(&new) == "eddsa-1" {
        new = one.login_as(DialectKind::Jwt, "mark", "a-password").await.assert_success().token();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(key_id_of(&new), "eddsa-2");
    for token in [old, new] {
        assert_eq!(two.is_session_alive(DialectKind::Jwt, &token).await, Some(true), "{}", key_id_of(&token));
    }
    home.run(&["keys", "retire", "jwt-eddsa-1"]).assert_failed(1, "tokens it signed may live until");
    home.run(&["keys", "retire", "jwt-eddsa-2"]).assert_failed(1, "jwt-eddsa-2 is the key that works");
    assert_eq!(listed_key(&home, "jwt-eddsa-1").unwrap()["state"], "verifies");
    assert_eq!(listed_key(&home, "jwt-eddsa-2").unwrap()["state"], "signs");
}

/// Registers users at the portal, all with one password.
async fn register_users(server: &Server, count: usize) -> Vec<String> {
    let client = client_of(server);
    let mut phones = Vec::new();
    for n in 0..count {
        let phone = format!("139{n:08}");
        client.form("/code/send", &[], &[("username", &phone)]).await.assert_is(200, "200");
        let code = base64(&server.next_code(&phone, 0));
        let fields = [("username", phone.as_str()), ("password", &base64("a-password")), ("code", &code)];
        client.form("/i/register", &[], &fields).await.assert_is(200, "200");
        phones.push(phone);
    }
    phones
}

#[tokio::test]
async fn an_interrupted_reseal_is_resumed() {
    let count = 230;
    let mut home = Installation::new();
    for name in ["STELE_SEND_ADDRESS", "STELE_LIMIT_ADDRESS"] {
        home.set(name, "1000000");
    }
    let server = home.start_up();
    let phones = register_users(&server, count).await;
    let rows = |key: u32| listed_key(&home, &format!("seal-{key}")).unwrap()["users"].as_u64().unwrap();
    let mut delay = Duration::from_millis(100);
    let mut key = 1;
    let mut tries = 0;
    loop {
        assert!(tries < 30, "no kill met the middle");
        tries += 1;
        home.run(&["keys", "rotate", "--no-reseal", "--lead", "0"]).assert_success();
        key += 1;
        let mut child = home.command(&["keys", "reseal"]).spawn().unwrap();
        tokio::time::sleep(delay).await;
        child.kill().unwrap();
        child.wait().unwrap();
        match rows(key) {
            0 => delay = delay * 3 / 2,
            all if all == count as u64 => delay = delay * 2 / 3,
            some => {
                assert!(some % 50 == 0, "a step is whole: {some}");
                break;
            }
        }
        // What was left goes with the next round: from whichever keys it is under.
        home.run(&["keys", "reseal"]).assert_success();
    }
    home.run(&["keys", "retire", &(key - 1).to_string()]).assert_failed(1, "rows are sealed under it");
    let client = client_of(&server);
    for phone in [&phones[0], &phones[count - 1]] {
        client.login_as(DialectKind::Cloudbox, phone, "a-password").await.assert_success();
    }
    let output = home.run(&["keys", "reseal", "--json"]).assert_success().stdout.clone();
    let last: Value = serde_json::from_str(output.lines().last().unwrap()).unwrap();
    assert!(last["resealed"].as_u64().is_some_and(|rest| rest > 0 && rest < count as u64), "{output}");
    assert_eq!(rows(key), count as u64);
    for old in 1..key {
        home.run(&["keys", "retire", &old.to_string()]).assert_success();
    }
    for phone in &phones {
        client.login_as(DialectKind::Cloudbox, phone, "a-password").await.assert_success();
    }
    home.run(&["keys", "reseal"]).assert_success();
    server.stop();
}

fn disable_challenge(home: &Installation) -> CommandOutput {
    home.run(&["challenge", "off", "--yes", "--json"])
}

#[tokio::test]
async fn salted_logins_are_disabled_and_enabled_in_running_servers() {
    let home = Installation::new();
    let server = home.start_up();
    let id = home.add_user("mark", "a-password", &[]);
    home.add_user("other", "a-password", &[]);
    let person = TestUser { id, name: "mark".into(), phone: String::new(), email: "mark".into() };
    let client = client_of(&server);
    client.login(DialectKind::Cloudbox, &person, "a-password").await.assert_success();
    // Noted beside the login, and stored soon after.
    let asked = eventually("the login is noted", || {
        let asked = home.run(&["challenge", "off"]);
        assert_eq!(asked.code, Some(2), "{asked:?}");
        asked.stdout.contains("1 users have logged in by salted proofs, 1 of them").then_some(asked)
    });
    assert!(asked.stdout.contains("2 sealed digests") && asked.stderr.contains("--yes"), "{asked:?}");
    client.login(DialectKind::Cloudbox, &person, "a-password").await.assert_success();

    let output = disable_challenge(&home).assert_success().stdout.clone();
    let lines: Vec<Value> = output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["salted_users"], &lines[0]["seals"]), (&1.into(), &2.into()), "{output}");
    assert_eq!(lines.last().unwrap()["erased"], 2, "{output}");
    client.login(DialectKind::Cloudbox, &person, "a-password").await.assert_is(200, "1002");
    // Neither a login with the password nor a new password brings a digest back.
    client.login(DialectKind::Jwt, &person, "a-password").await.assert_success();
    home.run_with(&["user", "passwd", "other", "--password-stdin"], "another").assert_success();
    home.add_user("third", "a-password", &[]);
    let again: Value =
        serde_json::from_str(disable_challenge(&home).assert_success().stdout.lines().next().unwrap()).unwrap();
    assert_eq!(again["seals"], 0);

    home.run(&["challenge", "on"]).assert_success();
    while !client.login(DialectKind::Cloudbox, &person, "a-password").await.is_success() {
        client.login(DialectKind::Jwt, &person, "a-password").await.assert_success();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    server.stop();
}
