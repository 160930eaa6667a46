//! Trouble on our side: opaque, in dialect, and never taken for a wrong password.

use std::net::TcpListener;

use serde_json::json;
use stele_core::Error;
use stele_testkit::conformance::DialectUnderTest as _;
use stele_testkit::conformance::salted::salted_digest;
use stele_testkit::{MessageCode as _, STORES, TestLab};

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
    let gone = Error::unavailable("");
    for ((_, down), required) in STORES.into_iter().flat_map(|store| [(store, "true"), (store, "false")]) {
        let app = TestService::with_settings(&[("STELE_TMS_REQUIRE_TOKEN", required)]).await;
        let root = app.lab.user("root").admin().add().await;
        let dead = app.login_admin("root", "123456").await.token();
        app.advance_clock(1);
        let live = app.pwdreset(&dead, root.number, "123456", "hna123").await.token();
        app.advance_clock(1);
        let used = app.now();
        app.login_admin("root", "hna123").await.token();
        // A login for which a user vouches, by a token of theirs.
        let login_by = async |token: &str| {
            let proof = salted_digest("hna123", app.now());
            app.post_with_token(LOGIN, token, &json!({ "username": "root", "password": proof, "timestamp": app.now() }))
                .await
        };

        down(&app.lab, true);
        for _ in ["a used proof", "a fresh one"] {
            app.assert_fails_with(&app.login_admin("root", "hna123").await, &gone);
            app.assert_fails_with(&app.login("root", "hna123").await, &gone);
            for token in [&live, &dead] {
                app.assert_fails_with(&login_by(token).await, &gone);
                app.assert_fails_with(&app.pwdreset(token, root.number, "hna123", "654321").await, &gone);
            }
            app.advance_clock(1);
        }
        down(&app.lab, false);

        for path in [ADMIN_LOGIN, LOGIN] {
            app.login_with_proof(path, "root", &salted_digest("hna123", used), used)
                .await
                .assert_is(200, PROOF_REPLAYED);
        }
        app.pwdreset(&dead, root.number, "hna123", "654321").await.assert_is(401, BAD_TOKEN);
        if required == "true" {
            login_by(&dead).await.assert_is(401, BAD_TOKEN);
        }
        // What was told 503 was neither counted nor done: the proof, the session and the password are still good.
        let timestamp = used + 1;
        app.login_with_proof(ADMIN_LOGIN, "root", &salted_digest("hna123", timestamp), timestamp).await.token();
        login_by(&live).await.token();
        app.advance_clock(1);
        app.pwdreset(&live, root.number, "hna123", "654321").await.token();
        app.advance_clock(1);
        app.login("root", "654321").await.token();
    }
}
