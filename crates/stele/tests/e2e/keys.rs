//! Keys put in service and taken out of it, and salted logins ended, while servers run and people log in.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::client::{App, CLOUDBOX_RESET, Client, Dialect, Person, base64, change};
use crate::support::{Home, Outcome, Server, eventually};

/// A client that needs no app.
pub(crate) fn client(server: &Server) -> Client {
    Client::new(server, App::new("none", Default::default()), "")
}

/// A second home on the first one's data, for another process.
fn beside(home: &Home) -> Home {
    Home::with(&[("STELE_HASH_COST", "64,1,1,weak"), ("STELE_DATA", home.data().to_str().unwrap())])
}

/// What `stele keys list` says of a key.
fn listed(home: &Home, key: &str) -> Option<Value> {
    let told = home.run(&["keys", "list", "--json"]).done().stdout.clone();
    told.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).find(|line| line["key"] == key)
}

fn kid(token: &str) -> String {
    use base64::Engine as _;
    let header = token.split('.').next().unwrap();
    let text = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(header).unwrap();
    serde_json::from_slice::<Value>(&text).unwrap()["kid"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_replaced_while_two_servers_let_people_in() {
    let home = Home::new();
    let one = home.up();
    let other = beside(&home);
    let two = other.up();
    let id = home.add_user("mark", "a-password", &["--phone", "13800138000"]);
    let app = App::new("melink", home.add_app("melink", "melink"));
    home.run(&["keys", "retire", "1"]).refused(1, "seal-1 is the key that works");
    home.run(&["keys", "retire", "seal-9"]).refused(1, "no key seal-9");

    let (over, logins) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let going_on: Vec<_> = [&one, &two]
        .map(|server| {
            let (client, over, logins) = (client(server), over.clone(), logins.clone());
            tokio::spawn(async move {
                while !over.load(Ordering::SeqCst) {
                    client.login_as(Dialect::Cloudbox, "mark", "a-password").await.good();
                    // The clients of a test have 280 timestamps each five minutes.
                    tokio::time::sleep(Duration::from_millis(60)).await;
                    logins.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .into();
    let told = home.run(&["keys", "rotate", "--lead", "1s"]).done().stdout.clone();
    assert!(told.starts_with("seal-2 is in service") && told.ends_with("resealed 2 of 2\n"), "{told}");
    let seen = logins.load(Ordering::SeqCst);
    eventually("logins go on", || (logins.load(Ordering::SeqCst) > seen + 2).then_some(()));
    over.store(true, Ordering::SeqCst);
    for task in going_on {
        task.await.unwrap();
    }
    let (old, new) = (listed(&home, "seal-1").unwrap(), listed(&home, "seal-2").unwrap());
    assert_eq!((&old["state"], &old["users"], &old["apps"]), (&"opens".into(), &0.into(), &0.into()));
    assert_eq!((&new["state"], &new["users"], &new["apps"]), (&"seals".into(), &1.into(), &1.into()));

    // What one seals under the new key the other opens, before and after the old one is gone.
    client(&one).json(CLOUDBOX_RESET, &[], &change(&id, "a-password", "password-2")).await.good();
    client(&two).login_as(Dialect::Cloudbox, "mark", "password-2").await.good();
    home.run(&["keys", "retire", "1"]).done();
    assert!(!home.data().join("keys/seal-1.key").exists());
    client(&two).json(CLOUDBOX_RESET, &[], &change(&id, "password-2", "password-3")).await.good();
    client(&one).login_as(Dialect::Cloudbox, "mark", "password-3").await.good();
    let mefp = Client::new(&two, app, "");
    mefp.login_as(Dialect::Mefp, "13800138000", "password-3").await.good();
    home.run(&["check"]).done();
    for log in [one.stop(), two.stop()] {
        assert!(!log.contains("ERROR"), "{log}");
    }
    home.up().stop();
}

#[test]
fn a_key_whose_time_has_not_come_can_be_taken_back() {
    let home = Home::new();
    home.run(&["migrate"]).done();
    home.run(&["keys", "rotate", "--no-reseal", "--lead", "1h"]).done();
    home.run(&["keys", "rotate"]).refused(1, "seal-2 is to work only from");
    assert_eq!(listed(&home, "seal-1").unwrap()["state"], "seals");
    let pending = listed(&home, "seal-2").unwrap();
    assert!(pending["state"].as_str().unwrap().starts_with("seals from 20"), "{pending}");
    home.run(&["keys", "retire", "2"]).refused(1, "seal-2 is the key that works");
    // It is not to work for an hour, and is not missed: taken back by who removes it.
    std::fs::remove_file(home.data().join("keys/seal-2.key")).unwrap();
    home.run(&["keys", "retire", "2"]).done();
    // One that lies there already is taken: copied there first, or made by a command that was killed.
    let strange = Home::new();
    strange.run(&["migrate"]).done();
    std::fs::copy(strange.data().join("keys/seal-1.key"), home.data().join("keys/seal-5.key")).unwrap();
    home.run(&["keys", "rotate", "--no-reseal", "--lead", "0"]).done();
    assert_eq!(listed(&home, "seal-5").unwrap()["state"], "seals");
    assert_eq!(listed(&home, "seal-1").unwrap()["state"], "opens");
    home.run(&["keys", "retire", "1"]).done();
    home.run(&["check"]).done();
}

#[test]
fn a_key_that_cannot_be_put_aside_stays_in_service() {
    let home = Home::new();
    home.run(&["migrate"]).done();
    home.run(&["keys", "rotate", "--no-reseal", "--lead", "0"]).done();
    let kept = home.data().join("keys/seal-1.key.retired");
    std::fs::write(&kept, "another key of this number, that was taken back").unwrap();
    home.run(&["keys", "retire", "1"]).refused(2, "seal-1.key.retired: there is something else by this name");
    assert_eq!(listed(&home, "seal-1").unwrap()["here"], "here");
    // What was linked by a command that was killed is no hindrance.
    std::fs::copy(home.data().join("keys/seal-1.key"), &kept).unwrap();
    home.run(&["keys", "retire", "1"]).done();
    assert!(listed(&home, "seal-1").is_none() && kept.exists() && !home.data().join("keys/seal-1.key").exists());

    // Neither is a key put aside that is refused for another reason.
    home.add_user("mark", "a-password", &[]);
    home.run(&["keys", "rotate", "--no-reseal", "--lead", "0"]).done();
    home.run(&["keys", "retire", "2"]).refused(1, "1 rows are sealed under it");
    assert!(!home.data().join("keys/seal-2.key.retired").exists());
    home.run(&["check"]).done();
}

#[tokio::test]
async fn signing_keys_overlap() {
    let home = Home::new();
    let one = home.up();
    let other = beside(&home);
    let two = other.up();
    home.add_user("mark", "a-password", &[]);
    let (one, two) = (client(&one), client(&two));
    let old = one.login_as(Dialect::Jwt, "mark", "a-password").await.good().token();
    assert_eq!(kid(&old), "eddsa-1");
    home.run(&["keys", "rotate", "--jwt", "--lead", "2s"]).done();
    // One of them takes it up; the other has to take it up at once when it sees what that one signed.
    let mut new = old.clone();
    while kid(&new) == "eddsa-1" {
        new = one.login_as(Dialect::Jwt, "mark", "a-password").await.good().token();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(kid(&new), "eddsa-2");
    for token in [old, new] {
        assert_eq!(two.alive(Dialect::Jwt, &token).await, Some(true), "{}", kid(&token));
    }
    home.run(&["keys", "retire", "jwt-eddsa-1"]).refused(1, "tokens it signed may live until");
    home.run(&["keys", "retire", "jwt-eddsa-2"]).refused(1, "jwt-eddsa-2 is the key that works");
    assert_eq!(listed(&home, "jwt-eddsa-1").unwrap()["state"], "verifies");
    assert_eq!(listed(&home, "jwt-eddsa-2").unwrap()["state"], "signs");
}

/// Registers users at the portal, all with one password.
async fn register(server: &Server, count: usize) -> Vec<String> {
    let client = client(server);
    let mut phones = Vec::new();
    for n in 0..count {
        let phone = format!("139{n:08}");
        client.form("/code/send", &[], &[("username", &phone)]).await.is(200, "200");
        let code = base64(&server.code_after(&phone, 0));
        let fields = [("username", phone.as_str()), ("password", &base64("a-password")), ("code", &code)];
        client.form("/i/register", &[], &fields).await.is(200, "200");
        phones.push(phone);
    }
    phones
}

#[tokio::test]
async fn sealing_anew_is_killed_in_the_middle_and_gone_on_with() {
    let count = 230;
    let mut home = Home::new();
    for name in ["STELE_SEND_ADDRESS", "STELE_LIMIT_ADDRESS"] {
        home.set(name, "1000000");
    }
    let server = home.up();
    let phones = register(&server, count).await;
    let rows = |key: u32| listed(&home, &format!("seal-{key}")).unwrap()["users"].as_u64().unwrap();
    let mut delay = Duration::from_millis(100);
    let mut key = 1;
    let mut tries = 0;
    loop {
        assert!(tries < 30, "no kill met the middle");
        tries += 1;
        home.run(&["keys", "rotate", "--no-reseal", "--lead", "0"]).done();
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
        home.run(&["keys", "reseal"]).done();
    }
    home.run(&["keys", "retire", &(key - 1).to_string()]).refused(1, "rows are sealed under it");
    let client = client(&server);
    for phone in [&phones[0], &phones[count - 1]] {
        client.login_as(Dialect::Cloudbox, phone, "a-password").await.good();
    }
    let told = home.run(&["keys", "reseal", "--json"]).done().stdout.clone();
    let last: Value = serde_json::from_str(told.lines().last().unwrap()).unwrap();
    assert!(last["resealed"].as_u64().is_some_and(|rest| rest > 0 && rest < count as u64), "{told}");
    assert_eq!(rows(key), count as u64);
    for old in 1..key {
        home.run(&["keys", "retire", &old.to_string()]).done();
    }
    for phone in &phones {
        client.login_as(Dialect::Cloudbox, phone, "a-password").await.good();
    }
    home.run(&["keys", "reseal"]).done();
    server.stop();
}

fn off(home: &Home) -> Outcome {
    home.run(&["challenge", "off", "--yes", "--json"])
}

#[tokio::test]
async fn salted_logins_are_ended_in_running_servers_and_allowed_again() {
    let home = Home::new();
    let server = home.up();
    let id = home.add_user("mark", "a-password", &[]);
    home.add_user("other", "a-password", &[]);
    let person = Person { id, name: "mark".into(), phone: String::new(), email: "mark".into() };
    let client = client(&server);
    client.login(Dialect::Cloudbox, &person, "a-password").await.good();
    // Noted beside the login, and stored soon after.
    let asked = eventually("the login is noted", || {
        let asked = home.run(&["challenge", "off"]);
        assert_eq!(asked.code, Some(2), "{asked:?}");
        asked.stdout.contains("1 users have logged in by salted proofs, 1 of them").then_some(asked)
    });
    assert!(asked.stdout.contains("2 sealed digests") && asked.stderr.contains("--yes"), "{asked:?}");
    client.login(Dialect::Cloudbox, &person, "a-password").await.good();

    let told = off(&home).done().stdout.clone();
    let lines: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["salted_users"], &lines[0]["seals"]), (&1.into(), &2.into()), "{told}");
    assert_eq!(lines.last().unwrap()["erased"], 2, "{told}");
    client.login(Dialect::Cloudbox, &person, "a-password").await.is(200, "1002");
    // Neither a login with the password nor a new password brings a digest back.
    client.login(Dialect::Jwt, &person, "a-password").await.good();
    home.run_with(&["user", "passwd", "other", "--password-stdin"], "another").done();
    home.add_user("third", "a-password", &[]);
    let again: Value = serde_json::from_str(off(&home).done().stdout.lines().next().unwrap()).unwrap();
    assert_eq!(again["seals"], 0);

    home.run(&["challenge", "on"]).done();
    while !client.login(Dialect::Cloudbox, &person, "a-password").await.succeeded() {
        client.login(Dialect::Jwt, &person, "a-password").await.good();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    server.stop();
}
