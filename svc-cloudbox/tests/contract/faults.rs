//! Trouble on our side: opaque, in dialect, and never taken for a wrong password.

use std::net::TcpListener;
use std::sync::Arc;

use serde_json::json;
use stele_core::hasher::Hasher;
use stele_core::password::RawPassword;
use stele_core::random::OsRandom;
use stele_core::seal::Sealer;
use stele_core::verifier::{Cost, Secret};
use stele_testkit::{Lab, STORES, md5_hex};

use crate::support::{Answer, BYE, Bench, LOGIN, NO_TOKEN, PWDRESET, REPLAYED, salted};

/// Asks a service whose domain was tampered with.
async fn ask(lab: &Lab, tamper: impl FnOnce(&mut stele_core::Deps), path: &str) -> (u16, Option<String>, String) {
    let context = lab.context_with(tamper);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}{path}", listener.local_addr().unwrap());
    let server = svc_cloudbox::SERVICE.start(&context, listener).unwrap();
    let handle = server.handle();
    tokio::spawn(server);
    let now = lab.clock().now().as_secs();
    let mark = lab.deps().users.find("mark").await.unwrap().unwrap().user.id.to_string();
    let proof = salted("123456", now);
    let body = json!({
        "username": "mark", "password": proof, "timestamp": now,
        "user_id": mark, "orig_password": proof, "new_password": md5_hex("654321"),
    });
    let answer = stele_testkit::http().post(url).json(&body).send().await.unwrap();
    let wait = answer.headers().get("retry-after").map(|wait| wait.to_str().unwrap().to_owned());
    let seen = (answer.status().as_u16(), wait, answer.text().await.unwrap());
    handle.stop(false).await;
    seen
}

#[tokio::test]
async fn a_lost_sealing_key_is_our_fault_not_the_users() {
    let lab = Lab::new().await;
    lab.user("mark").add().await;
    for key in [1, 99] {
        let other = Sealer::new([(key, [7; 32].into())]).unwrap();
        let answer = ask(&lab, |deps| deps.sealer = Arc::new(other), LOGIN).await;
        assert_eq!(answer, (500, None, r#"{"message":"服务内部错误","code":"1009"}"#.to_owned()));
    }
    // Nothing was counted or used up.
    let answer = ask(&lab, |_| (), LOGIN).await;
    assert_eq!(answer.0, 200);
    assert!(answer.2.starts_with(r#"{"message":"Succ","code":"0000""#), "{answer:?}");
}

#[tokio::test]
async fn a_full_hashing_queue_asks_to_come_back() {
    let lab = Lab::new().await;
    lab.user("mark").add().await;
    let cost = Cost { memory: 64, passes: 1, lanes: 1 };
    let full = Hasher::new(cost, 1, 0, &OsRandom).unwrap();
    let answer = ask(&lab, |deps| deps.hasher = full, PWDRESET).await;
    assert_eq!(answer, (503, Some("1".to_owned()), r#"{"message":"服务暂不可用","code":"1009"}"#.to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn salted_logins_are_not_held_up_while_every_slot_is_taken() {
    let settings = [("STELE_HASH_SLOTS", "1"), ("STELE_HASH_QUEUE", "200"), ("STELE_HASH_COST", "65536,2,1")];
    let bench = Bench::with(&settings).await;
    bench.lab.user("mark").add().await;
    let hasher = bench.lab.deps().hasher.clone();
    let guess = || Secret::Raw(RawPassword::new("wrong".to_owned()));
    let guesses: Vec<_> = (0..200)
        .map(|_| {
            let (hasher, secret) = (hasher.clone(), guess());
            tokio::spawn(async move { hasher.verify(None, secret).await })
        })
        .collect();
    while hasher.queue().0 < 150 {
        tokio::task::yield_now().await;
    }
    for _ in 0..5 {
        bench.pass(1);
        bench.login("mark", "123456").await.token();
    }
    // The guesses before were still waiting when those were answered.
    assert_eq!(hasher.slots(), (1, 1));
    assert!(hasher.queue().0 > 50, "{:?}", hasher.queue());
    for guess in guesses {
        guess.abort();
    }
}

/// Our trouble, to the byte, so nothing of the cause.
#[track_caller]
fn is_unavailable(answer: &Answer) {
    answer.is(503, r#"{"message":"服务暂不可用","code":"1009"}"#);
    assert_eq!(answer.retry_after.as_deref(), Some("1"));
}

#[tokio::test]
async fn without_a_store_nothing_opens_and_with_it_all_is_well() {
    for (store, down) in STORES {
        let bench = Bench::new().await;
        let mark = bench.lab.user("mark").add().await;
        let ended = bench.login("mark", "123456").await.token();
        bench.logout(&ended).await.is(200, BYE);
        bench.pass(1);
        let outdated = bench.login("mark", "123456").await.token();
        bench.pass(1);
        let live = bench.pwdreset(mark.id.to_string(), "123456", "hna123").await.token();
        bench.pass(1);
        let used = bench.now();
        bench.login("mark", "hna123").await.token();

        down(&bench.lab, true);
        is_unavailable(&bench.login("mark", "hna123").await);
        is_unavailable(&bench.pwdreset(mark.id.to_string(), "hna123", "654321").await);
        bench.pass(1);
        is_unavailable(&bench.login("mark", "hna123").await);
        is_unavailable(&bench.pwdreset(mark.id.to_string(), "hna123", "654321").await);
        is_unavailable(&bench.logout(&live).await);
        is_unavailable(&bench.login("nobody", "hna123").await);
        // More than the limits let pass.
        for _ in 0..8 {
            is_unavailable(&bench.login("mark", "wrong").await);
        }
        for dead in [&ended, &outdated] {
            // With the users away, a session that is gone is known to be.
            let answer = bench.logout(dead).await;
            if store == "users" && dead == &ended { answer.is(401, NO_TOKEN) } else { is_unavailable(&answer) }
        }
        down(&bench.lab, false);

        bench.login_at("mark", "hna123", used).await.is(200, REPLAYED);
        for dead in [&ended, &outdated] {
            bench.logout(dead).await.is(401, NO_TOKEN);
        }
        // What was told 503 was neither counted nor done: the proof, the session and the password are still good.
        bench.login("mark", "hna123").await.token();
        bench.logout(&live).await.is(200, BYE);
        bench.pass(1);
        let fresh = bench.pwdreset(mark.id.to_string(), "hna123", "654321").await.token();
        bench.logout(&fresh).await.is(200, BYE);
    }
}
