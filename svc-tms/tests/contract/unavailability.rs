//! Invalid settings and server errors: the latter are reported without their cause, in the dialect's format, and never
//! as a wrong password.

use std::net::TcpListener;

use serde_json::json;
use stele_core::Error;
use stele_testkit::conformance::DialectUnderTest as _;
use stele_testkit::conformance::salted::salted_digest;
use stele_testkit::{MessageCode as _, STORES, StoreState, TestLab};

use crate::test_service::{ADMIN_LOGIN, BAD_TOKEN, LOGIN, PROOF_REPLAYED, TestService};

#[tokio::test]
async fn an_invalid_setting_prevents_startup_and_is_named() {
    for setting in ["STELE_TMS_PROOF", "STELE_TMS_TZ", "STELE_TMS_REQUIRE_TOKEN"] {
        let lab = TestLab::with_settings(&[(setting, "perhaps")]).await;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let error = svc_tms::SERVICE.start(lab.context(), listener).err().unwrap().to_string();
        assert!(error.starts_with(&format!("{setting}: `perhaps`")), "{error}");
    }
}

#[tokio::test]
async fn a_store_outage_fails_closed_and_recovers() {
    let unavailable = Error::unavailable("");
    for ((_, set_store), required) in STORES.into_iter().flat_map(|store| [(store, "true"), (store, "false")]) {
        let service = TestService::with_settings(&[("STELE_TMS_REQUIRE_TOKEN", required)]).await;
        let root = service.lab.user("root").admin().add().await;
        let ended_token = service.login_admin("root", "123456").await.token();
        service.advance_clock(1);
        let live = service.pwdreset(&ended_token, root.number, "123456", "hna123").await.token();
        service.advance_clock(1);
        let used = service.now();
        service.login_admin("root", "hna123").await.token();
        // A login that is authorized by a user's session token.
        let login_with_user_token = async |token: &str| {
            let proof = salted_digest("hna123", service.now());
            service
                .post_with_token(
                    LOGIN,
                    token,
                    &json!({ "username": "root", "password": proof, "timestamp": service.now() }),
                )
                .await
        };

        set_store(&service.lab, StoreState::Down);
        for _ in ["a used proof", "a fresh proof"] {
            service.assert_fails_with(&service.login_admin("root", "hna123").await, &unavailable);
            service.assert_fails_with(&service.login("root", "hna123").await, &unavailable);
            for token in [&live, &ended_token] {
                service.assert_fails_with(&login_with_user_token(token).await, &unavailable);
                service
                    .assert_fails_with(&service.pwdreset(token, root.number, "hna123", "654321").await, &unavailable);
            }
            service.advance_clock(1);
        }
        set_store(&service.lab, StoreState::Up);

        for path in [ADMIN_LOGIN, LOGIN] {
            service
                .login_with_proof(path, "root", &salted_digest("hna123", used), used)
                .await
                .assert_is(200, PROOF_REPLAYED);
        }
        service.pwdreset(&ended_token, root.number, "hna123", "654321").await.assert_is(401, BAD_TOKEN);
        if required == "true" {
            login_with_user_token(&ended_token).await.assert_is(401, BAD_TOKEN);
        }
        // Requests answered 503 had no effect and were not counted: proof, session and password are still valid.
        let timestamp = used + 1;
        service.login_with_proof(ADMIN_LOGIN, "root", &salted_digest("hna123", timestamp), timestamp).await.token();
        login_with_user_token(&live).await.token();
        service.advance_clock(1);
        service.pwdreset(&live, root.number, "hna123", "654321").await.token();
        service.advance_clock(1);
        service.login("root", "654321").await.token();
    }
}
