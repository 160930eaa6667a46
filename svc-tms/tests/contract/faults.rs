//! Trouble on our side: opaque, in dialect, and never taken for a wrong password.

use std::net::TcpListener;

use serde_json::json;
use stele_core::Error;
use stele_testkit::conformance::DialectUnderTest as _;
use stele_testkit::conformance::salted::salted;
use stele_testkit::{Lab, MessageCode as _, STORES};

use crate::app::{ADMIN, App, LOGIN, NO_TOKEN, REPLAYED};

#[tokio::test]
async fn a_bad_setting_stops_the_service_with_its_name() {
    for setting in ["STELE_TMS_PROOF", "STELE_TMS_TZ", "STELE_TMS_REQUIRE_TOKEN"] {
        let lab = Lab::with(&[(setting, "perhaps")]).await;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let error = svc_tms::SERVICE.start(lab.context(), listener).err().unwrap().to_string();
        assert!(error.starts_with(&format!("{setting}: `perhaps`")), "{error}");
    }
}

#[tokio::test]
async fn without_a_store_nothing_opens_and_with_it_all_is_well() {
    let gone = Error::unavailable("");
    for ((_, down), required) in STORES.into_iter().flat_map(|store| [(store, "true"), (store, "false")]) {
        let app = App::with(&[("STELE_TMS_REQUIRE_TOKEN", required)]).await;
        let root = app.lab.user("root").admin().add().await;
        let dead = app.login_admin("root", "123456").await.token();
        app.wait(1);
        let live = app.pwdreset(&dead, root.number, "123456", "hna123").await.token();
        app.wait(1);
        let used = app.now();
        app.login_admin("root", "hna123").await.token();
        // A login for which a user vouches, by a token of theirs.
        let login_by = async |token: &str| {
            let proof = salted("hna123", app.now());
            app.post(LOGIN, token, &json!({ "username": "root", "password": proof, "timestamp": app.now() })).await
        };

        down(&app.lab, true);
        for _ in ["a used proof", "a fresh one"] {
            app.fails(&app.login_admin("root", "hna123").await, &gone);
            app.fails(&app.login("root", "hna123").await, &gone);
            for token in [&live, &dead] {
                app.fails(&login_by(token).await, &gone);
                app.fails(&app.pwdreset(token, root.number, "hna123", "654321").await, &gone);
            }
            app.wait(1);
        }
        down(&app.lab, false);

        for path in [ADMIN, LOGIN] {
            app.prove(path, "root", &salted("hna123", used), used).await.is(200, REPLAYED);
        }
        app.pwdreset(&dead, root.number, "hna123", "654321").await.is(401, NO_TOKEN);
        if required == "true" {
            login_by(&dead).await.is(401, NO_TOKEN);
        }
        // What was told 503 was neither counted nor done: the proof, the session and the password are still good.
        let timestamp = used + 1;
        app.prove(ADMIN, "root", &salted("hna123", timestamp), timestamp).await.token();
        login_by(&live).await.token();
        app.wait(1);
        app.pwdreset(&live, root.number, "hna123", "654321").await.token();
        app.wait(1);
        app.login("root", "654321").await.token();
    }
}
