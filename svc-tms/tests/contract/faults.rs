//! Trouble on our side: opaque, in dialect, and never taken for a wrong password.

use std::net::TcpListener;
use std::sync::Arc;

use serde_json::json;
use stele_core::hasher::Hasher;
use stele_core::random::OsRandom;
use stele_core::seal::Sealer;
use stele_core::verifier::Cost;
use stele_testkit::Lab;

use crate::support::{LOGIN, salted};

/// Asks a service whose domain was tampered with.
async fn ask(lab: &Lab, password: &str, tamper: impl FnOnce(&mut stele_core::Deps)) -> (u16, Option<String>, String) {
    let mut context = lab.context().clone();
    tamper(&mut context.deps);
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
