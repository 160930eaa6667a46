//! Password hashing: its cost is what the settings say, for whoever makes a hash; it rises and does not fall; and while
//! it is full each dialect says so and salted logins go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::client::{App, CLOUDBOX_RESET, Client, Dialect, Person, TMS, base64, change, md5_hex, timestamp};
use crate::support::{Home, PATIENCE};

const CHEAP: &str = "64,1,1,weak";
const PHONE: &str = "13800138000";

/// Another home on the same data, with another cost.
fn beside(home: &Home, cost: &str) -> Home {
    Home::with(&[("STELE_HASH_COST", cost), ("STELE_DATA", home.data().to_str().unwrap())])
}

/// Whether a hash of this cost is, or was, in the database: its file and what was not written back yet.
fn stored(home: &Home, cost: &str) -> bool {
    let start = format!("$argon2id$v=19${cost}$");
    let files = ["users.db", "users.db-wal"].map(|file| std::fs::read(home.data().join(file)).unwrap_or_default());
    files.iter().any(|bytes| bytes.windows(start.len()).any(|window| window == start.as_bytes()))
}

fn client(server: &crate::support::Server) -> Client {
    Client::new(server, App::new("none", Default::default()), "")
}

#[tokio::test]
async fn commands_and_servers_hash_as_the_settings_say() {
    let home = Home::with(&[("STELE_HASH_COST", "7168,5,1")]);
    home.run(&["migrate"]).done();
    home.add_user("mark", "a-password", &[]);
    assert!(stored(&home, "m=7168,t=5,p=1"));
    let dearer = beside(&home, "9216,4,1");
    dearer.run_with(&["user", "passwd", "mark", "--password-stdin"], "b-password").done();
    assert!(stored(&home, "m=9216,t=4,p=1"));
    let told = dearer.run(&["check"]).done().stdout.clone();
    assert!(told.contains("ok: passwords are hashed by argon2id with 9216 KiB, 4 passes"), "{told}");
    let server = dearer.up();
    client(&server).login_as(Dialect::Jwt, "mark", "b-password").await.good();
    let log = server.stop();
    assert!(log.contains("passwords are hashed by argon2id with 9216 KiB, 4 passes and 1 lanes"), "{log}");
    assert!(!log.contains("cheap to guess"), "{log}");

    let weak = beside(&home, CHEAP);
    let told = weak.run(&["check"]).done().stdout.clone();
    assert!(told.contains("warning: weak, for tests only: passwords are hashed"), "{told}");
    let log = weak.up().stop();
    assert!(log.contains("STELE_HASH_COST: passwords are cheap to guess"), "{log}");
    beside(&home, "64,1,1").run(&["up", "--listen", "127.0.0.1:0"]).refused(2, "at least 47104,1,1 or 19456,2,1");
}

#[tokio::test]
async fn a_cost_that_rises_reaches_a_user_at_the_next_login_with_the_password() {
    let home = Home::with(&[("STELE_HASH_COST", CHEAP)]);
    home.run(&["migrate"]).done();
    for name in ["mark", "other"] {
        home.add_user(name, "a-password", &[]);
    }
    assert!(stored(&home, "m=64,t=1,p=1") && !stored(&home, "m=128,t=2,p=1"));
    let raised = beside(&home, "128,2,1,weak");
    let server = raised.up();
    let asked = client(&server);
    // A salted proof shows no password, and a wrong one nothing.
    asked.login_as(Dialect::Cloudbox, "mark", "a-password").await.good();
    assert!(!asked.login_as(Dialect::Jwt, "mark", "wrong").await.succeeded());
    assert!(!stored(&home, "m=128,t=2,p=1"));
    let logins = (0..8).map(|_| asked.login_as(Dialect::Jwt, "mark", "a-password"));
    for answer in futures_util::future::join_all(logins).await {
        answer.good();
    }
    server.stop();
    assert!(stored(&home, "m=128,t=2,p=1"));

    // Back to what it was: the password still works, and the other user is still as before.
    let lowered = beside(&home, CHEAP);
    let server = lowered.up();
    let asked = client(&server);
    for (dialect, name) in [(Dialect::Jwt, "mark"), (Dialect::Cloudbox, "mark"), (Dialect::Jwt, "other")] {
        asked.login_as(dialect, name, "a-password").await.good();
    }
    server.stop();
}

/// Keeps every slot taken and the queue full, as far as it can, until it is over.
async fn keep_busy(client: Client, over: Arc<AtomicBool>) {
    while !over.load(Ordering::SeqCst) {
        client.login_as(Dialect::Jwt, PHONE, "a-password").await;
    }
}

/// A call that costs a hash, in each dialect.
async fn costly(client: &Client, dialect: Dialect, person: &Person) -> crate::client::Answer {
    match dialect {
        Dialect::Cloudbox => {
            let body = change(&person.id, "a-password", "a-password");
            client.json(CLOUDBOX_RESET, &[], &body).await
        }
        Dialect::Tms => {
            let body = json!({ "username": person.name, "password": md5_hex("a-password"), "timestamp": timestamp() });
            client.json(TMS, &[("authorization", &client.tms)], &body).await
        }
        Dialect::Portal => {
            let fields = [("username", person.phone.as_str()), ("password", &base64("a-password"))];
            client.form("/i/login", &[], &fields).await
        }
        Dialect::Mefp | Dialect::Jwt => client.login(dialect, person, "a-password").await,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_hashing_is_full_each_dialect_says_so_and_salted_logins_go_on() {
    let settings = [("STELE_HASH_COST", "65536,4,1"), ("STELE_HASH_SLOTS", "1"), ("STELE_HASH_QUEUE", "2")];
    let home = Home::with(&settings);
    let server = home.up();
    let email = "mark@example.com".to_owned();
    let id = home.add_user("mark", "a-password", &["--phone", PHONE, "--email", &email]);
    home.add_user("salted", "a-password", &[]);
    let tms = home.run(&["token", "add", "kiosk"]).last_word();
    let client = Client::new(&server, App::new("melink", home.add_app("melink", "melink")), &tms);
    let person = Person { id, name: "mark".to_owned(), phone: PHONE.to_owned(), email };
    let over = Arc::new(AtomicBool::new(false));
    let busy: Vec<_> = (0..6).map(|_| tokio::spawn(keep_busy(client.clone(), over.clone()))).collect();

    for dialect in Dialect::ALL {
        let began = Instant::now();
        let answer = loop {
            let answer = costly(&client, dialect, &person).await;
            if answer.status == 503 {
                break answer;
            }
            answer.good();
            assert!(began.elapsed() < PATIENCE, "{dialect:?} never says that hashing is full");
        };
        let code = ["1009", "1009", "503", "50300", "-1"][dialect as usize];
        assert_eq!((answer.code().as_str(), &answer.headers["retry-after"]), (code, &"1".parse().unwrap()));
        // Of those whose proof costs no hash, none is turned away.
        client.login_as(Dialect::Cloudbox, "salted", "a-password").await.good();
        client.login_as(Dialect::Tms, "salted", "a-password").await.good();
    }
    over.store(true, Ordering::SeqCst);
    for task in busy {
        task.await.unwrap();
    }
    // Nothing of that was counted as a failure, and all is well when it is over.
    for dialect in Dialect::ALL {
        let began = Instant::now();
        while !client.login(dialect, &person, "a-password").await.succeeded() {
            assert!(began.elapsed() < PATIENCE, "{dialect:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    server.stop();
}
