//! Password hashing: the configured cost applies to commands and servers, a rehash on login raises the cost of a stored
//! hash, and a full hash queue is reported in each dialect while salted logins continue.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::client::{
    CLOUDBOX_CHANGE_PASSWORD, DialectClient, DialectKind, TMS_LOGIN, TestUser, encode_base64, fresh_timestamp, md5_hex,
    password_change_body,
};
use crate::support::{Installation, TEST_TIMEOUT};

const CHEAP_COST: &str = "64,1,1,weak";
const PHONE: &str = "13800138000";

/// A second installation on the same data with another hash cost.
fn on_same_data(installation: &Installation, cost: &str) -> Installation {
    Installation::with_settings(&[("STELE_HASH_COST", cost), ("STELE_DATA", installation.data().to_str().unwrap())])
}

/// Whether a hash of this cost is or was in the database: its file or its WAL.
fn has_stored_hash(installation: &Installation, cost: &str) -> bool {
    let start = format!("$argon2id$v=19${cost}$");
    let files =
        ["users.db", "users.db-wal"].map(|file| std::fs::read(installation.data().join(file)).unwrap_or_default());
    files.iter().any(|bytes| bytes.windows(start.len()).any(|window| window == start.as_bytes()))
}

#[tokio::test]
async fn commands_and_servers_use_the_configured_hash_cost() {
    let installation = Installation::with_settings(&[("STELE_HASH_COST", "7168,5,1")]);
    installation.run(&["migrate"]).assert_success();
    installation.add_user("mark", "a-password", &[]);
    assert!(has_stored_hash(&installation, "m=7168,t=5,p=1"));
    let raised = on_same_data(&installation, "9216,4,1");
    raised.run_with(&["user", "passwd", "mark", "--password-stdin"], "b-password").assert_success();
    assert!(has_stored_hash(&installation, "m=9216,t=4,p=1"));
    let output = raised.run(&["check"]).assert_success().stdout.clone();
    assert!(output.contains("ok: passwords are hashed by argon2id with 9216 KiB, 4 passes"), "{output}");
    let server = raised.start_up();
    DialectClient::without_credentials(&server).login_as(DialectKind::Jwt, "mark", "b-password").await.assert_success();
    let log = server.stop();
    assert!(log.contains("passwords are hashed by argon2id with 9216 KiB, 4 passes and 1 lanes"), "{log}");
    assert!(!log.contains("cheap to guess"), "{log}");

    let weak = on_same_data(&installation, CHEAP_COST);
    let output = weak.run(&["check"]).assert_success().stdout.clone();
    assert!(output.contains("warning: weak, for tests only: passwords are hashed"), "{output}");
    let log = weak.start_up().stop();
    assert!(log.contains("STELE_HASH_COST: passwords are cheap to guess"), "{log}");
    on_same_data(&installation, "64,1,1")
        .run(&["up", "--listen", "127.0.0.1:0"])
        .assert_failed(2, "at least 47104,1,1 or 19456,2,1");
}

#[tokio::test]
async fn a_raised_hash_cost_is_applied_on_the_next_login() {
    let installation = Installation::with_settings(&[("STELE_HASH_COST", CHEAP_COST)]);
    installation.run(&["migrate"]).assert_success();
    for name in ["mark", "other"] {
        installation.add_user(name, "a-password", &[]);
    }
    assert!(has_stored_hash(&installation, "m=64,t=1,p=1") && !has_stored_hash(&installation, "m=128,t=2,p=1"));
    let raised = on_same_data(&installation, "128,2,1,weak");
    let server = raised.start_up();
    let client = DialectClient::without_credentials(&server);
    // Neither a salted proof nor a wrong password reveals the password, so there is no rehash.
    client.login_as(DialectKind::Cloudbox, "mark", "a-password").await.assert_success();
    assert!(!client.login_as(DialectKind::Jwt, "mark", "wrong").await.is_success());
    assert!(!has_stored_hash(&installation, "m=128,t=2,p=1"));
    let logins = (0..8).map(|_| client.login_as(DialectKind::Jwt, "mark", "a-password"));
    for response in futures_util::future::join_all(logins).await {
        response.assert_success();
    }
    server.stop();
    assert!(has_stored_hash(&installation, "m=128,t=2,p=1"));

    // With the lower cost again, hashes of either cost are still accepted.
    let lowered = on_same_data(&installation, CHEAP_COST);
    let server = lowered.start_up();
    let client = DialectClient::without_credentials(&server);
    for (dialect, name) in [(DialectKind::Jwt, "mark"), (DialectKind::Cloudbox, "mark"), (DialectKind::Jwt, "other")] {
        client.login_as(dialect, name, "a-password").await.assert_success();
    }
    server.stop();
}

/// Keeps the hashing slots and the queue full until `stopped`.
async fn saturate_hashing(client: DialectClient, stopped: Arc<AtomicBool>) {
    while !stopped.load(Ordering::SeqCst) {
        client.login_as(DialectKind::Jwt, PHONE, "a-password").await;
    }
}

/// Sends a request of the dialect for which the server computes a hash.
async fn send_hashing_request(
    client: &DialectClient,
    dialect: DialectKind,
    person: &TestUser,
) -> crate::client::Response {
    match dialect {
        DialectKind::Cloudbox => {
            let body = password_change_body(&person.id, "a-password", "a-password");
            client.post_json(CLOUDBOX_CHANGE_PASSWORD, &[], &body).await
        }
        DialectKind::Tms => {
            let body =
                json!({ "username": person.name, "password": md5_hex("a-password"), "timestamp": fresh_timestamp() });
            client.post_json(TMS_LOGIN, &[("authorization", &client.client_token)], &body).await
        }
        DialectKind::Portal => {
            let fields = [("username", person.phone.as_str()), ("password", &encode_base64("a-password"))];
            client.post_form("/i/login", &[], &fields).await
        }
        DialectKind::Mefp | DialectKind::Jwt => client.login(dialect, person, "a-password").await,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_hash_queue_is_reported_in_each_dialect_and_salted_logins_continue() {
    let settings = [("STELE_HASH_COST", "65536,4,1"), ("STELE_HASH_SLOTS", "1"), ("STELE_HASH_QUEUE", "2")];
    let installation = Installation::with_settings(&settings);
    let server = installation.start_up();
    let person = TestUser::add(&installation, "mark", PHONE, "mark@example.com", "a-password");
    installation.add_user("salted", "a-password", &[]);
    let client = DialectClient::register(&installation, &server);
    let stopped = Arc::new(AtomicBool::new(false));
    let busy: Vec<_> = (0..6).map(|_| tokio::spawn(saturate_hashing(client.clone(), stopped.clone()))).collect();

    for dialect in DialectKind::ALL {
        let started_at = Instant::now();
        let response = loop {
            let response = send_hashing_request(&client, dialect, &person).await;
            if response.status == 503 {
                break response;
            }
            response.assert_success();
            assert!(started_at.elapsed() < TEST_TIMEOUT, "{dialect:?} never reports a full hash queue");
        };
        let code = ["1009", "1009", "503", "50300", "-1"][dialect as usize];
        assert_eq!((response.code().as_str(), &response.headers["retry-after"]), (code, &"1".parse().unwrap()));
        // Logins that compute no hash are not rejected.
        client.login_as(DialectKind::Cloudbox, "salted", "a-password").await.assert_success();
        client.login_as(DialectKind::Tms, "salted", "a-password").await.assert_success();
    }
    stopped.store(true, Ordering::SeqCst);
    for task in busy {
        task.await.unwrap();
    }
    // The rejected requests were not counted as failures: all logins succeed afterwards.
    for dialect in DialectKind::ALL {
        let started_at = Instant::now();
        while !client.login(dialect, &person, "a-password").await.is_success() {
            assert!(started_at.elapsed() < TEST_TIMEOUT, "{dialect:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    server.stop();
}
