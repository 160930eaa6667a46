//! What proves a password in each reading of the document, how fresh it must be, and how often it is good.

use serde_json::json;
use stele_core::user::{Credential, UserRef};
use stele_testkit::md5_hex;

use crate::support::{ADMIN, Answer, Bench, LOGIN, PWDRESET, REPLAYED, STALE, WRONG, salted};

async fn bench(reading: &str) -> Bench {
    let bench = Bench::with(&[("STELE_TMS_PROOF", reading)]).await;
    bench.lab.user("mark").add().await;
    bench
}

impl Bench {
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
    let bench = bench("either").await;
    bench.login("mark", "123456").await.token();
    bench.login("mark", "123456").await.is(200, REPLAYED);
    // D is the same every time, so it cannot be accepted only once.
    bench.digest_at("123456", bench.now()).await.token();
    bench.digest_at("123456", bench.now()).await.token();
    bench.digest_at("123456", bench.now() - 301).await.is(200, STALE);
    bench.digest_at("wrong", bench.now()).await.is(200, WRONG);
    let missing = r#"{"message":"缺少参数: timestamp","code":"1001"}"#;
    bench.bare("mark", "123456").await.is(400, missing);
}

#[tokio::test]
async fn salted_does_not_take_the_digest() {
    let bench = bench("salted").await;
    let before = bench.hashes();
    bench.digest_at("123456", bench.now()).await.is(200, WRONG);
    bench.login("mark", "123456").await.token();
    assert_eq!(bench.hashes(), before);
}

#[tokio::test]
async fn digest_takes_nothing_else_and_needs_no_timestamp() {
    let bench = bench("digest").await;
    bench.login("mark", "123456").await.is(200, WRONG);
    bench.bare("mark", "123456").await.token();
    bench.bare("mark", "wrong").await.is(200, WRONG);
    for at in [0, 1_521_515_662, i64::MAX] {
        bench.digest_at("123456", at).await.token();
    }
    let bad = json!({ "username": "mark", "password": md5_hex("123456"), "timestamp": "soon" });
    bench.post(LOGIN, &bench.kiosk, &bad).await.is(400, r#"{"message":"参数错误: timestamp","code":"1001"}"#);
}

#[tokio::test]
async fn pwdreset_reads_the_old_password_as_a_login_does() {
    for (reading, good, bad) in [
        ("salted", vec![salted("123456", 1_767_254_400)], vec![md5_hex("123456")]),
        ("digest", vec![md5_hex("123456")], vec![salted("123456", 1_767_254_400)]),
        ("either", vec![salted("123456", 1_767_254_400), md5_hex("123456")], vec![md5_hex("wrong")]),
    ] {
        for (proof, accepted) in good.iter().map(|p| (p, true)).chain(bad.iter().map(|p| (p, false))) {
            let bench = bench(reading).await;
            // Opened as by another login, so that the proof is not used up.
            let token = bench.live_token("mark").await;
            let body = json!({
                "user_id": 100_001, "orig_password": proof, "new_password": md5_hex("654321"), "timestamp": 1_767_254_400,
            });
            let answer = bench.post(PWDRESET, &token, &body).await;
            assert_eq!(answer.code() == "0000", accepted, "{reading} {answer:?}");
        }
    }
}

#[tokio::test]
async fn pwdreset_needs_no_timestamp_where_it_is_a_digest() {
    let bench = bench("digest").await;
    let token = bench.live_token("mark").await;
    let body = json!({ "user_id": 100_001, "orig_password": md5_hex("123456"), "new_password": md5_hex("654321") });
    bench.post(PWDRESET, &token, &body).await.token();
    bench.bare("mark", "654321").await.token();
}

#[tokio::test]
async fn hex_is_read_in_either_case_and_a_replay_is_one_in_both() {
    let bench = bench("either").await;
    let now = bench.now();
    bench.prove(LOGIN, "mark", &md5_hex("123456").to_uppercase(), now).await.token();
    bench.prove(LOGIN, "mark", &salted("123456", now).to_uppercase(), now).await.token();
    bench.login("MARK", "123456").await.is(200, REPLAYED);
}

#[tokio::test]
async fn a_proof_is_good_for_five_minutes_either_way() {
    let bench = bench("either").await;
    for offset in [-301, 301, -86_400, 86_400] {
        let at = bench.now() + offset;
        bench.prove(LOGIN, "mark", &salted("123456", at), at).await.is(200, STALE);
    }
    for offset in [-300, -1, 0, 1, 300] {
        let at = bench.now() + offset;
        bench.prove(LOGIN, "mark", &salted("123456", at), at).await.token();
        bench.prove(LOGIN, "mark", &salted("123456", at), at).await.is(200, REPLAYED);
    }
}

#[tokio::test]
async fn a_proof_is_good_once_in_all_calls_and_dialects() {
    let bench = Bench::new().await;
    let admin = bench.lab.user("admin").admin().add().await;
    let token = bench.login_admin("admin", "123456").await.token();
    bench.login_admin("admin", "123456").await.is(200, REPLAYED);
    bench.login("admin", "123456").await.is(200, REPLAYED);
    bench.pwdreset(&token, admin.number, "123456", "654321").await.is(200, REPLAYED);
    let replayed = bench.login_cloudbox("admin", "123456").await;
    assert!(matches!(replayed, Err(stele_core::Error::Replayed)), "{replayed:?}");

    bench.pass(1);
    bench.login_cloudbox("admin", "123456").await.unwrap();
    bench.login("admin", "123456").await.is(200, REPLAYED);
}

#[tokio::test]
async fn the_digest_of_another_user_proves_nothing() {
    let bench = bench("either").await;
    bench.lab.user("anna").password("hna123").add().await;
    bench.digest_at("hna123", bench.now()).await.is(200, WRONG);
    bench.login("mark", "hna123").await.is(200, WRONG);
    // What was salted is not taken for D at another time, nor the other way round.
    bench.prove(LOGIN, "mark", &salted("123456", bench.now() - 1), bench.now()).await.is(200, WRONG);
}

#[tokio::test]
async fn only_administrators_pass_the_administrators_door() {
    let bench = bench("either").await;
    bench.lab.user("admin").admin().add().await;
    let now = bench.now();
    for proof in [salted("123456", now), md5_hex("123456"), md5_hex("wrong")] {
        bench.prove(ADMIN, "mark", &proof, now).await.is(200, WRONG);
        bench.prove(ADMIN, "nobody", &proof, now).await.is(200, WRONG);
    }
    bench.prove(ADMIN, "admin", &md5_hex("123456"), now).await.token();
    // What was refused there was not used up.
    bench.login("mark", "123456").await.token();
}

#[tokio::test]
async fn a_digest_restores_what_salted_proofs_need() {
    for reading in ["either", "digest"] {
        let bench = bench(reading).await;
        let deps = bench.lab.deps();
        let account = deps.users.find("mark").await.unwrap().unwrap();
        let unsealed = Credential { sealed: None, ..account.credential.clone() };
        let old = &account.credential.verifier;
        assert!(deps.users.upgrade_credential(account.user.id, account.epoch, old, &unsealed).await.unwrap());
        bench.login_cloudbox("mark", "123456").await.unwrap_err();
        bench.digest_at("123456", bench.now()).await.token();
        bench.login_cloudbox("mark", "123456").await.unwrap();
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
        let bench = Bench::with(&[("STELE_TMS_PROOF", reading), ("STELE_SALTED", "false")]).await;
        bench.lab.user("mark").add().await;
        assert_eq!(bench.login("mark", "123456").await.code(), as_salted, "{reading}");
        assert_eq!(bench.digest_at("123456", bench.now()).await.code(), as_digest, "{reading}");
    }
}
