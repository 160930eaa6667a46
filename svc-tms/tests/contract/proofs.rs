//! What proves a password in each reading of the API document (`docs/PROTOCOLS.md`, TMS), how fresh it must be, and
//! how often it is good.

use serde_json::json;
use stele_core::user::{Credential, UserRef};
use stele_testkit::conformance::DialectUnderTest as _;
use stele_testkit::conformance::salted::salted_digest;
use stele_testkit::{MessageCode as _, TestResponse, md5_hex};

use crate::test_service::{ADMIN_LOGIN, LOGIN, PROOF_REPLAYED, PROOF_STALE, PWDRESET, TestService, WRONG_CREDENTIALS};

async fn service_with_proof_format(reading: &str) -> TestService {
    let app = TestService::with_settings(&[("STELE_TMS_PROOF", reading)]).await;
    app.lab.user("mark").add().await;
    app
}

impl TestService {
    /// Logs in with `D`, without a timestamp.
    async fn login_with_digest(&self, username: &str, password: &str) -> TestResponse {
        self.post_with_token(LOGIN, &self.client_token, &json!({ "username": username, "password": md5_hex(password) }))
            .await
    }

    /// Logs in with `D` and a timestamp.
    async fn login_with_digest_at(&self, password: &str, at: i64) -> TestResponse {
        self.login_with_proof(LOGIN, "mark", &md5_hex(password), at).await
    }
}

#[tokio::test]
async fn either_accepts_both_formats_with_a_fresh_timestamp() {
    let app = service_with_proof_format("either").await;
    app.login("mark", "123456").await.token();
    app.login("mark", "123456").await.assert_is(200, PROOF_REPLAYED);
    // D is the same every time, so it cannot be accepted only once.
    app.login_with_digest_at("123456", app.now()).await.token();
    app.login_with_digest_at("123456", app.now()).await.token();
    app.login_with_digest_at("123456", app.now() - 301).await.assert_is(200, PROOF_STALE);
    app.login_with_digest_at("wrong", app.now()).await.assert_is(200, WRONG_CREDENTIALS);
    app.login_with_proof(LOGIN, "mark", &md5_hex("123456").to_uppercase(), app.now()).await.token();
    let missing = r#"{"message":"缺少参数: timestamp","code":"1001"}"#;
    app.login_with_digest("mark", "123456").await.assert_is(400, missing);
}

#[tokio::test]
async fn salted_rejects_an_unsalted_digest() {
    let app = service_with_proof_format("salted").await;
    let before = app.hash_count();
    app.login_with_digest_at("123456", app.now()).await.assert_is(200, WRONG_CREDENTIALS);
    app.login("mark", "123456").await.token();
    assert_eq!(app.hash_count(), before);
}

#[tokio::test]
async fn digest_accepts_only_digests_and_needs_no_timestamp() {
    let app = service_with_proof_format("digest").await;
    app.login("mark", "123456").await.assert_is(200, WRONG_CREDENTIALS);
    app.login_with_digest("mark", "123456").await.token();
    app.login_with_digest("mark", "wrong").await.assert_is(200, WRONG_CREDENTIALS);
    for at in [0, 1_521_515_662, i64::MAX] {
        app.login_with_digest_at("123456", at).await.token();
    }
    let bad = json!({ "username": "mark", "password": md5_hex("123456"), "timestamp": "soon" });
    app.post_with_token(LOGIN, &app.client_token, &bad)
        .await
        .assert_is(400, r#"{"message":"参数错误: timestamp","code":"1001"}"#);
}

#[tokio::test]
async fn pwdreset_accepts_the_proof_formats_of_login() {
    for (reading, good, bad) in [
        ("salted", vec![salted_digest("123456", 1_767_254_400)], vec![md5_hex("123456")]),
        ("digest", vec![md5_hex("123456")], vec![salted_digest("123456", 1_767_254_400)]),
        ("either", vec![salted_digest("123456", 1_767_254_400), md5_hex("123456")], vec![md5_hex("wrong")]),
    ] {
        for (proof, accepted) in good.iter().map(|p| (p, true)).chain(bad.iter().map(|p| (p, false))) {
            let app = service_with_proof_format(reading).await;
            // Opened as by another login, so that the proof is not used up.
            let token = app.open_session_token("mark").await;
            let body = json!({
                "user_id": 100_001, "orig_password": proof, "new_password": md5_hex("654321"), "timestamp": 1_767_254_400,
            });
            let answer = app.post_with_token(PWDRESET, &token, &body).await;
            assert_eq!(answer.code() == "0000", accepted, "{reading} {answer:?}");
        }
    }
}

#[tokio::test]
async fn pwdreset_needs_no_timestamp_for_a_digest() {
    let app = service_with_proof_format("digest").await;
    let token = app.open_session_token("mark").await;
    let body = json!({ "user_id": 100_001, "orig_password": md5_hex("123456"), "new_password": md5_hex("654321") });
    app.post_with_token(PWDRESET, &token, &body).await.token();
    app.login_with_digest("mark", "654321").await.token();
}

#[tokio::test]
async fn a_proof_is_accepted_once_across_calls_and_dialects() {
    let app = TestService::new().await;
    let admin = app.lab.user("admin").admin().add().await;
    let token = app.login_admin("admin", "123456").await.token();
    app.login_admin("admin", "123456").await.assert_is(200, PROOF_REPLAYED);
    app.login("admin", "123456").await.assert_is(200, PROOF_REPLAYED);
    app.pwdreset(&token, admin.number, "123456", "654321").await.assert_is(200, PROOF_REPLAYED);
    let replayed = app.login_cloudbox("admin", "123456").await;
    assert!(matches!(replayed, Err(stele_core::Error::Replayed)), "{replayed:?}");

    app.advance_clock(1);
    app.login_cloudbox("admin", "123456").await.unwrap();
    app.login("admin", "123456").await.assert_is(200, PROOF_REPLAYED);
}

#[tokio::test]
async fn the_digest_of_another_user_is_rejected() {
    let app = service_with_proof_format("either").await;
    app.lab.user("anna").password("hna123").add().await;
    app.login_with_digest_at("hna123", app.now()).await.assert_is(200, WRONG_CREDENTIALS);
    app.login("mark", "hna123").await.assert_is(200, WRONG_CREDENTIALS);
    // What was salted is not taken for D at another time, nor the other way round.
    app.login_with_proof(LOGIN, "mark", &salted_digest("123456", app.now() - 1), app.now())
        .await
        .assert_is(200, WRONG_CREDENTIALS);
}

#[tokio::test]
async fn only_administrators_pass_the_admin_login() {
    let app = service_with_proof_format("either").await;
    app.lab.user("admin").admin().add().await;
    let now = app.now();
    for proof in [salted_digest("123456", now), md5_hex("123456"), md5_hex("wrong")] {
        app.login_with_proof(ADMIN_LOGIN, "mark", &proof, now).await.assert_is(200, WRONG_CREDENTIALS);
        app.login_with_proof(ADMIN_LOGIN, "nobody", &proof, now).await.assert_is(200, WRONG_CREDENTIALS);
    }
    app.login_with_proof(ADMIN_LOGIN, "admin", &md5_hex("123456"), now).await.token();
    // What was refused there was not used up.
    app.login("mark", "123456").await.token();
}

#[tokio::test]
async fn a_digest_login_restores_the_sealed_digest() {
    for reading in ["either", "digest"] {
        let app = service_with_proof_format(reading).await;
        let deps = app.lab.dependencies();
        let account = deps.users.find_by_identifier("mark").await.unwrap().unwrap();
        let unsealed = Credential { sealed: None, ..account.credential.clone() };
        let old = &account.credential.verifier;
        assert!(deps.users.upgrade_credential(account.user.id, account.epoch, old, &unsealed).await.unwrap());
        app.login_cloudbox("mark", "123456").await.unwrap_err();
        app.login_with_digest_at("123456", app.now()).await.token();
        app.login_cloudbox("mark", "123456").await.unwrap();
        let after = deps.users.find_by_ref(UserRef::Id(account.user.id)).await.unwrap().unwrap();
        assert_eq!(after.epoch, account.epoch, "the sessions go on");
        assert_eq!(after.credential.verifier, account.credential.verifier, "what is good is left as it is");
    }
}

#[tokio::test]
async fn without_sealed_digests_only_unsalted_digests_are_accepted() {
    for (reading, as_salted, as_digest) in
        [("salted", "1002", "1002"), ("digest", "1002", "0000"), ("either", "1002", "0000")]
    {
        let app = TestService::with_settings(&[("STELE_TMS_PROOF", reading), ("STELE_SALTED", "false")]).await;
        app.lab.user("mark").add().await;
        assert_eq!(app.login("mark", "123456").await.code(), as_salted, "{reading}");
        assert_eq!(app.login_with_digest_at("123456", app.now()).await.code(), as_digest, "{reading}");
    }
}

#[tokio::test]
async fn a_login_can_be_repeated_only_at_the_same_endpoint() {
    let app = TestService::with_settings(&[("STELE_REPEAT_WINDOW", "10s")]).await;
    app.lab.user("root").admin().add().await;
    let now = app.now();
    let proof = salted_digest("123456", now);
    app.login_with_proof(LOGIN, "root", &proof, now).await.token();
    app.login_with_proof(ADMIN_LOGIN, "root", &proof, now).await.assert_is(200, PROOF_REPLAYED);
    app.login_with_proof(LOGIN, "root", &proof, now).await.token();
    app.login_with_proof(LOGIN, "root", &proof, now).await.assert_is(200, PROOF_REPLAYED);
}
