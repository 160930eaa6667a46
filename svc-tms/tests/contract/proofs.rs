//! What proves a password in each reading of the API document (`docs/PROTOCOLS.md`, TMS), how fresh it must be, and
//! how often it is good.

use serde_json::json;
use stele_core::user::{Credential, UserRef};
use stele_testkit::conformance::DialectUnderTest as _;
use stele_testkit::conformance::salted::salted;
use stele_testkit::{Answer, MessageCode as _, md5_hex};

use crate::app::{ADMIN, App, LOGIN, PWDRESET, REPLAYED, STALE, WRONG};

async fn app(reading: &str) -> App {
    let app = App::with(&[("STELE_TMS_PROOF", reading)]).await;
    app.lab.user("mark").add().await;
    app
}

impl App {
    /// Logs in with `D`, without a timestamp.
    async fn bare(&self, username: &str, password: &str) -> Answer {
        self.post(LOGIN, &self.kiosk, &json!({ "username": username, "password": md5_hex(password) })).await
    }

    /// Logs in with `D` and a timestamp.
    async fn digest_at(&self, password: &str, at: i64) -> Answer {
        self.prove(LOGIN, "mark", &md5_hex(password), at).await
    }
}

#[tokio::test]
async fn either_takes_both_and_wants_a_fresh_timestamp_with_both() {
    let app = app("either").await;
    app.login("mark", "123456").await.token();
    app.login("mark", "123456").await.is(200, REPLAYED);
    // D is the same every time, so it cannot be accepted only once.
    app.digest_at("123456", app.now()).await.token();
    app.digest_at("123456", app.now()).await.token();
    app.digest_at("123456", app.now() - 301).await.is(200, STALE);
    app.digest_at("wrong", app.now()).await.is(200, WRONG);
    app.prove(LOGIN, "mark", &md5_hex("123456").to_uppercase(), app.now()).await.token();
    let missing = r#"{"message":"缺少参数: timestamp","code":"1001"}"#;
    app.bare("mark", "123456").await.is(400, missing);
}

#[tokio::test]
async fn salted_does_not_take_the_digest() {
    let app = app("salted").await;
    let before = app.hashes();
    app.digest_at("123456", app.now()).await.is(200, WRONG);
    app.login("mark", "123456").await.token();
    assert_eq!(app.hashes(), before);
}

#[tokio::test]
async fn digest_takes_nothing_else_and_needs_no_timestamp() {
    let app = app("digest").await;
    app.login("mark", "123456").await.is(200, WRONG);
    app.bare("mark", "123456").await.token();
    app.bare("mark", "wrong").await.is(200, WRONG);
    for at in [0, 1_521_515_662, i64::MAX] {
        app.digest_at("123456", at).await.token();
    }
    let bad = json!({ "username": "mark", "password": md5_hex("123456"), "timestamp": "soon" });
    app.post(LOGIN, &app.kiosk, &bad).await.is(400, r#"{"message":"参数错误: timestamp","code":"1001"}"#);
}

#[tokio::test]
async fn pwdreset_reads_the_old_password_as_a_login_does() {
    for (reading, good, bad) in [
        ("salted", vec![salted("123456", 1_767_254_400)], vec![md5_hex("123456")]),
        ("digest", vec![md5_hex("123456")], vec![salted("123456", 1_767_254_400)]),
        ("either", vec![salted("123456", 1_767_254_400), md5_hex("123456")], vec![md5_hex("wrong")]),
    ] {
        for (proof, accepted) in good.iter().map(|p| (p, true)).chain(bad.iter().map(|p| (p, false))) {
            let app = app(reading).await;
            // Opened as by another login, so that the proof is not used up.
            let token = app.live_token("mark").await;
            let body = json!({
                "user_id": 100_001, "orig_password": proof, "new_password": md5_hex("654321"), "timestamp": 1_767_254_400,
            });
            let answer = app.post(PWDRESET, &token, &body).await;
            assert_eq!(answer.code() == "0000", accepted, "{reading} {answer:?}");
        }
    }
}

#[tokio::test]
async fn pwdreset_needs_no_timestamp_where_it_is_a_digest() {
    let app = app("digest").await;
    let token = app.live_token("mark").await;
    let body = json!({ "user_id": 100_001, "orig_password": md5_hex("123456"), "new_password": md5_hex("654321") });
    app.post(PWDRESET, &token, &body).await.token();
    app.bare("mark", "654321").await.token();
}

#[tokio::test]
async fn a_proof_is_good_once_in_all_calls_and_dialects() {
    let app = App::new().await;
    let admin = app.lab.user("admin").admin().add().await;
    let token = app.login_admin("admin", "123456").await.token();
    app.login_admin("admin", "123456").await.is(200, REPLAYED);
    app.login("admin", "123456").await.is(200, REPLAYED);
    app.pwdreset(&token, admin.number, "123456", "654321").await.is(200, REPLAYED);
    let replayed = app.login_cloudbox("admin", "123456").await;
    assert!(matches!(replayed, Err(stele_core::Error::Replayed)), "{replayed:?}");

    app.wait(1);
    app.login_cloudbox("admin", "123456").await.unwrap();
    app.login("admin", "123456").await.is(200, REPLAYED);
}

#[tokio::test]
async fn the_digest_of_another_user_proves_nothing() {
    let app = app("either").await;
    app.lab.user("anna").password("hna123").add().await;
    app.digest_at("hna123", app.now()).await.is(200, WRONG);
    app.login("mark", "hna123").await.is(200, WRONG);
    // What was salted is not taken for D at another time, nor the other way round.
    app.prove(LOGIN, "mark", &salted("123456", app.now() - 1), app.now()).await.is(200, WRONG);
}

#[tokio::test]
async fn only_administrators_pass_the_administrators_door() {
    let app = app("either").await;
    app.lab.user("admin").admin().add().await;
    let now = app.now();
    for proof in [salted("123456", now), md5_hex("123456"), md5_hex("wrong")] {
        app.prove(ADMIN, "mark", &proof, now).await.is(200, WRONG);
        app.prove(ADMIN, "nobody", &proof, now).await.is(200, WRONG);
    }
    app.prove(ADMIN, "admin", &md5_hex("123456"), now).await.token();
    // What was refused there was not used up.
    app.login("mark", "123456").await.token();
}

#[tokio::test]
async fn a_digest_restores_what_salted_proofs_need() {
    for reading in ["either", "digest"] {
        let app = app(reading).await;
        let deps = app.lab.deps();
        let account = deps.users.find("mark").await.unwrap().unwrap();
        let unsealed = Credential { sealed: None, ..account.credential.clone() };
        let old = &account.credential.verifier;
        assert!(deps.users.upgrade_credential(account.user.id, account.epoch, old, &unsealed).await.unwrap());
        app.login_cloudbox("mark", "123456").await.unwrap_err();
        app.digest_at("123456", app.now()).await.token();
        app.login_cloudbox("mark", "123456").await.unwrap();
        let after = deps.users.find_ref(UserRef::Id(account.user.id)).await.unwrap().unwrap();
        assert_eq!(after.epoch, account.epoch, "the sessions go on");
        assert_eq!(after.credential.verifier, account.credential.verifier, "what is good is left as it is");
    }
}

#[tokio::test]
async fn without_sealed_digests_only_the_digest_proves() {
    for (reading, as_salted, as_digest) in
        [("salted", "1002", "1002"), ("digest", "1002", "0000"), ("either", "1002", "0000")]
    {
        let app = App::with(&[("STELE_TMS_PROOF", reading), ("STELE_SALTED", "false")]).await;
        app.lab.user("mark").add().await;
        assert_eq!(app.login("mark", "123456").await.code(), as_salted, "{reading}");
        assert_eq!(app.digest_at("123456", app.now()).await.code(), as_digest, "{reading}");
    }
}

#[tokio::test]
async fn a_login_is_repeated_at_its_own_door_alone() {
    let app = App::with(&[("STELE_REPEAT_WINDOW", "10s")]).await;
    app.lab.user("root").admin().add().await;
    let now = app.now();
    let proof = salted("123456", now);
    app.prove(LOGIN, "root", &proof, now).await.token();
    app.prove(ADMIN, "root", &proof, now).await.is(200, REPLAYED);
    app.prove(LOGIN, "root", &proof, now).await.token();
    app.prove(LOGIN, "root", &proof, now).await.is(200, REPLAYED);
}
