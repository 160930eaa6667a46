//! Trouble on our side: opaque, in dialect, and never taken for a wrong password.

use std::net::TcpListener;
use std::sync::Arc;

use serde_json::json;
use stele_core::hasher::Hasher;
use stele_core::random::OsRandom;
use stele_core::seal::Sealer;
use stele_core::verifier::Cost;
use stele_testkit::{Lab, STORES};

use crate::support::{ADMIN, Answer, Bench, LOGIN, NO_TOKEN, REPLAYED, salted};

/// Asks a service whose domain was tampered with.
async fn ask(lab: &Lab, password: &str, tamper: impl FnOnce(&mut stele_core::Deps)) -> (u16, Option<String>, String) {
    let context = lab.context_with(tamper);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}{LOGIN}", listener.local_addr().unwrap());
    let server = svc_tms::SERVICE.start(&context, listener).unwrap();
    let handle = server.handle();
    tokio::spawn(server);
    let now = lab.clock().now().as_secs();
    let body = json!({ "username": "mark", "password": salted(password, now), "timestamp": now });
    let answer = stele_testkit::http().post(url).json(&body).send().await.unwrap();
    let wait = answer.headers().get("retry-after").map(|wait| wait.to_str().unwrap().to_owned());
    let seen = (answer.status().as_u16(), wait, answer.text().await.unwrap());
    handle.stop(false).await;
    seen
}

async fn lab() -> Lab {
    let lab = Lab::with(&[("STELE_TMS_REQUIRE_TOKEN", "false")]).await;
    lab.user("mark").add().await;
    lab
}

#[tokio::test]
async fn a_lost_sealing_key_is_our_fault_not_the_users() {
    let lab = lab().await;
    for key in [1, 99] {
        let other = Sealer::new([(key, [7; 32].into())]).unwrap();
        let answer = ask(&lab, "123456", |deps| deps.sealer = Arc::new(other)).await;
        assert_eq!(answer, (500, None, r#"{"message":"服务内部错误","code":"1009"}"#.to_owned()));
    }
}

#[tokio::test]
async fn a_full_hashing_queue_asks_to_come_back_and_does_not_starve_salted_logins() {
    let lab = lab().await;
    let full = Hasher::new(Cost { memory: 64, passes: 1, lanes: 1 }, 1, 0, &OsRandom).unwrap();
    let answer = ask(&lab, "wrong", |deps| deps.hasher = full.clone()).await;
    assert_eq!(answer, (503, Some("1".to_owned()), r#"{"message":"服务暂不可用","code":"1009"}"#.to_owned()));
    let answer = ask(&lab, "123456", |deps| deps.hasher = full).await;
    assert_eq!(answer.0, 200);
    assert!(answer.2.starts_with(r#"{"message":"Succ","code":"0000""#), "{answer:?}");
}

#[tokio::test]
async fn a_bad_setting_stops_the_service_with_its_name() {
    for setting in ["STELE_TMS_PROOF", "STELE_TMS_TZ", "STELE_TMS_REQUIRE_TOKEN"] {
        let lab = Lab::with(&[(setting, "perhaps")]).await;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let error = svc_tms::SERVICE.start(lab.context(), listener).err().unwrap().to_string();
        assert!(error.starts_with(&format!("{setting}: `perhaps`")), "{error}");
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
    for ((_, down), required) in STORES.into_iter().flat_map(|store| [(store, "true"), (store, "false")]) {
        let bench = Bench::with(&[("STELE_TMS_REQUIRE_TOKEN", required)]).await;
        let root = bench.lab.user("root").admin().add().await;
        let dead = bench.login_admin("root", "123456").await.token();
        bench.pass(1);
        let live = bench.pwdreset(&dead, root.number, "123456", "hna123").await.token();
        bench.pass(1);
        let used = bench.now();
        bench.login_admin("root", "hna123").await.token();
        // A login for which a user vouches, by a token of theirs.
        let login_by = async |token: &str| {
            let proof = salted("hna123", bench.now());
            bench.post(LOGIN, token, &json!({ "username": "root", "password": proof, "timestamp": bench.now() })).await
        };

        down(&bench.lab, true);
        for _ in ["a used proof", "a fresh one"] {
            is_unavailable(&bench.login_admin("root", "hna123").await);
            is_unavailable(&bench.login("root", "hna123").await);
            for token in [&live, &dead] {
                is_unavailable(&login_by(token).await);
                is_unavailable(&bench.pwdreset(token, root.number, "hna123", "654321").await);
            }
            bench.pass(1);
        }
        is_unavailable(&bench.login("nobody", "hna123").await);
        // More than the limits let pass.
        for _ in 0..8 {
            is_unavailable(&bench.login("root", "wrong").await);
        }
        down(&bench.lab, false);

        for path in [ADMIN, LOGIN] {
            bench.prove(path, "root", &salted("hna123", used), used).await.is(200, REPLAYED);
        }
        bench.pwdreset(&dead, root.number, "hna123", "654321").await.is(401, NO_TOKEN);
        if required == "true" {
            login_by(&dead).await.is(401, NO_TOKEN);
        }
        // What was told 503 was neither counted nor done: the proof, the session and the password are still good.
        let told = used + 1;
        bench.prove(ADMIN, "root", &salted("hna123", told), told).await.token();
        login_by(&live).await.token();
        bench.pass(1);
        bench.pwdreset(&live, root.number, "hna123", "654321").await.token();
        bench.pass(1);
        bench.login("root", "654321").await.token();
    }
}
