//! Password proofs in each configured format (`docs/PROTOCOLS.md`, TMS): freshness and replay protection.

use serde_json::json;
use stele_core::user::{Credential, UserRef};
use stele_testkit::conformance::DialectUnderTest as _;
use stele_testkit::conformance::salted::salted_digest;
use stele_testkit::{MessageCode as _, TestResponse, md5_hex};

use crate::test_service::{ADMIN_LOGIN, LOGIN, PROOF_REPLAYED, PROOF_STALE, PWDRESET, TestService, WRONG_CREDENTIALS};

async fn service_with_proof_format(format: &str) -> TestService {
    let service = TestService::with_settings(&[("STELE_TMS_PROOF", format)]).await;
    service.lab.user("mark").add().await;
    service
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
    let service = service_with_proof_format("either").await;
    service.login("mark", "123456").await.token();
    service.login("mark", "123456").await.assert_is(200, PROOF_REPLAYED);
    // D is the same in every login, so it cannot be protected against replay.
    service.login_with_digest_at("123456", service.now()).await.token();
    service.login_with_digest_at("123456", service.now()).await.token();
    service.login_with_digest_at("123456", service.now() - 301).await.assert_is(200, PROOF_STALE);
    service.login_with_digest_at("wrong", service.now()).await.assert_is(200, WRONG_CREDENTIALS);
    service.login_with_proof(LOGIN, "mark", &md5_hex("123456").to_uppercase(), service.now()).await.token();
    let missing = r#"{"message":"缺少参数: timestamp","code":"1001"}"#;
    service.login_with_digest("mark", "123456").await.assert_is(400, missing);
}

#[tokio::test]
async fn salted_rejects_an_unsalted_digest() {
    let service = service_with_proof_format("salted").await;
    let hashes_before = service.hash_count();
    service.login_with_digest_at("123456", service.now()).await.assert_is(200, WRONG_CREDENTIALS);
    service.login("mark", "123456").await.token();
    assert_eq!(service.hash_count(), hashes_before);
}

#[tokio::test]
async fn digest_accepts_only_digests_and_needs_no_timestamp() {
    let service = service_with_proof_format("digest").await;
    service.login("mark", "123456").await.assert_is(200, WRONG_CREDENTIALS);
    service.login_with_digest("mark", "123456").await.token();
    service.login_with_digest("mark", "wrong").await.assert_is(200, WRONG_CREDENTIALS);
    for at in [0, 1_521_515_662, i64::MAX] {
        service.login_with_digest_at("123456", at).await.token();
    }
    let bad = json!({ "username": "mark", "password": md5_hex("123456"), "timestamp": "soon" });
    service
        .post_with_token(LOGIN, &service.client_token, &bad)
        .await
        .assert_is(400, r#"{"message":"参数错误: timestamp","code":"1001"}"#);
}

#[tokio::test]
async fn pwdreset_accepts_the_proof_formats_of_login() {
    for (format, valid, invalid) in [
        ("salted", vec![salted_digest("123456", 1_767_254_400)], vec![md5_hex("123456")]),
        ("digest", vec![md5_hex("123456")], vec![salted_digest("123456", 1_767_254_400)]),
        ("either", vec![salted_digest("123456", 1_767_254_400), md5_hex("123456")], vec![md5_hex("wrong")]),
    ] {
        for (proof, accepted) in valid.iter().map(|p| (p, true)).chain(invalid.iter().map(|p| (p, false))) {
            let service = service_with_proof_format(format).await;
            // A session without a login, so that the proof is still unused.
            let token = service.open_session_token("mark").await;
            let body = json!({
                "user_id": 100_001, "orig_password": proof, "new_password": md5_hex("654321"), "timestamp": 1_767_254_400,
            });
            let response = service.post_with_token(PWDRESET, &token, &body).await;
            assert_eq!(response.code() == "0000", accepted, "{format} {response:?}");
        }
    }
}

#[tokio::test]
async fn pwdreset_needs_no_timestamp_for_a_digest() {
    let service = service_with_proof_format("digest").await;
    let token = service.open_session_token("mark").await;
    let body = json!({ "user_id": 100_001, "orig_password": md5_hex("123456"), "new_password": md5_hex("654321") });
    service.post_with_token(PWDRESET, &token, &body).await.token();
    service.login_with_digest("mark", "654321").await.token();
}

#[tokio::test]
async fn a_proof_is_accepted_once_across_calls_and_dialects() {
    let service = TestService::new().await;
    let admin = service.lab.user("admin").admin().add().await;
    let token = service.login_admin("admin", "123456").await.token();
    service.login_admin("admin", "123456").await.assert_is(200, PROOF_REPLAYED);
    service.login("admin", "123456").await.assert_is(200, PROOF_REPLAYED);
    service.pwdreset(&token, admin.number, "123456", "654321").await.assert_is(200, PROOF_REPLAYED);
    let replayed = service.login_cloudbox("admin", "123456").await;
    assert!(matches!(replayed, Err(stele_core::Error::Replayed)), "{replayed:?}");

    service.advance_clock(1);
    service.login_cloudbox("admin", "123456").await.unwrap();
    service.login("admin", "123456").await.assert_is(200, PROOF_REPLAYED);
}

#[tokio::test]
async fn the_digest_of_another_user_is_rejected() {
    let service = service_with_proof_format("either").await;
    service.lab.user("anna").password("hna123").add().await;
    service.login_with_digest_at("hna123", service.now()).await.assert_is(200, WRONG_CREDENTIALS);
    service.login("mark", "hna123").await.assert_is(200, WRONG_CREDENTIALS);
    // A salted proof for another time is not accepted as D.
    service
        .login_with_proof(LOGIN, "mark", &salted_digest("123456", service.now() - 1), service.now())
        .await
        .assert_is(200, WRONG_CREDENTIALS);
}

#[tokio::test]
async fn only_administrators_pass_the_admin_login() {
    let service = service_with_proof_format("either").await;
    service.lab.user("admin").admin().add().await;
    let now = service.now();
    for proof in [salted_digest("123456", now), md5_hex("123456"), md5_hex("wrong")] {
        service.login_with_proof(ADMIN_LOGIN, "mark", &proof, now).await.assert_is(200, WRONG_CREDENTIALS);
        service.login_with_proof(ADMIN_LOGIN, "unknown", &proof, now).await.assert_is(200, WRONG_CREDENTIALS);
    }
    service.login_with_proof(ADMIN_LOGIN, "admin", &md5_hex("123456"), now).await.token();
    // The rejected proof is still unused.
    service.login("mark", "123456").await.token();
}

#[tokio::test]
async fn a_digest_login_restores_the_sealed_digest() {
    for format in ["either", "digest"] {
        let service = service_with_proof_format(format).await;
        let deps = service.lab.dependencies();
        let account = deps.users.find_by_identifier("mark").await.unwrap().unwrap();
        let unsealed = Credential { sealed: None, ..account.credential.clone() };
        let old = &account.credential.verifier;
        assert!(deps.users.upgrade_credential(account.user.id, account.epoch, old, &unsealed).await.unwrap());
        service.login_cloudbox("mark", "123456").await.unwrap_err();
        service.login_with_digest_at("123456", service.now()).await.token();
        service.login_cloudbox("mark", "123456").await.unwrap();
        let after = deps.users.find_by_ref(UserRef::Id(account.user.id)).await.unwrap().unwrap();
        assert_eq!(after.epoch, account.epoch, "sessions stay valid");
        assert_eq!(after.credential.verifier, account.credential.verifier, "the verifier is unchanged");
    }
}

#[tokio::test]
async fn without_sealed_digests_only_unsalted_digests_are_accepted() {
    for (format, as_salted, as_digest) in
        [("salted", "1002", "1002"), ("digest", "1002", "0000"), ("either", "1002", "0000")]
    {
        let service = TestService::with_settings(&[("STELE_TMS_PROOF", format), ("STELE_SALTED", "false")]).await;
        service.lab.user("mark").add().await;
        assert_eq!(service.login("mark", "123456").await.code(), as_salted, "{format}");
        assert_eq!(service.login_with_digest_at("123456", service.now()).await.code(), as_digest, "{format}");
    }
}

#[tokio::test]
async fn a_login_can_be_repeated_only_at_the_same_endpoint() {
    let service = TestService::with_settings(&[("STELE_REPEAT_WINDOW", "10s")]).await;
    service.lab.user("root").admin().add().await;
    let now = service.now();
    let proof = salted_digest("123456", now);
    service.login_with_proof(LOGIN, "root", &proof, now).await.token();
    service.login_with_proof(ADMIN_LOGIN, "root", &proof, now).await.assert_is(200, PROOF_REPLAYED);
    service.login_with_proof(LOGIN, "root", &proof, now).await.token();
    service.login_with_proof(LOGIN, "root", &proof, now).await.assert_is(200, PROOF_REPLAYED);
}
