//! Guessing: waits, who shares them, and that nobody learns who exists.

use serde_json::json;
use stele_testkit::md5_hex;

use crate::support::{ADMIN, Answer, Bench, DISABLED, LOGIN, REPLAYED, STALE, TOO_MANY, WRONG, salted};

#[track_caller]
fn is_wait(answer: &Answer, seconds: &str) {
    answer.is(429, TOO_MANY);
    assert_eq!(answer.retry_after.as_deref(), Some(seconds));
}

impl Bench {
    /// Six failures: five are free, the sixth starts a wait of a second.
    async fn fail_six_times(&self, username: &str) {
        for _ in 0..6 {
            self.login(username, "wrong").await.is(200, WRONG);
        }
    }
}

#[tokio::test]
async fn the_sixth_failure_starts_a_wait_that_the_right_password_does_not_break() {
    for reading in ["salted", "digest", "either"] {
        let bench = Bench::with(&[("STELE_TMS_PROOF", reading)]).await;
        bench.lab.user("mark").add().await;
        bench.fail_six_times("mark").await;
        let before = bench.hashes();
        is_wait(&bench.login("mark", "wrong").await, "1");
        for proof in [salted("123456", bench.now()), md5_hex("123456")] {
            is_wait(&bench.prove(LOGIN, "mark", &proof, bench.now()).await, "1");
        }
        assert_eq!(bench.hashes(), before, "nothing is verified in a wait");
        bench.pass(1);
        let proof = if reading == "digest" { md5_hex("123456") } else { salted("123456", bench.now()) };
        bench.prove(LOGIN, "mark", &proof, bench.now()).await.token();
    }
}

#[tokio::test]
async fn the_count_is_shared_by_doors_names_and_dialects() {
    let bench = Bench::new().await;
    let user = bench.lab.user("Mark").phone("1548736484").email("1@hna").admin().add().await;
    let token = bench.live_token("mark").await;
    bench.login("mark", "wrong").await.is(200, WRONG);
    bench.login_admin("1548736484", "wrong").await.is(200, WRONG);
    bench.login("1@HNA", "wrong").await.is(200, WRONG);
    bench.pwdreset(&token, user.number, "wrong", "x").await.is(200, WRONG);
    bench.pwdreset(&token, user.id.to_string(), "wrong", "x").await.is(200, WRONG);
    bench.login_cloudbox("mark", "wrong").await.unwrap_err();
    is_wait(&bench.login("mark", "123456").await, "1");
    is_wait(&bench.login_admin("mark", "123456").await, "1");
    is_wait(&bench.pwdreset(&token, user.number, "123456", "x").await, "1");
    let other = bench.login_cloudbox("mark", "123456").await;
    assert!(matches!(other, Err(stele_core::Error::TooMany { .. })), "{other:?}");
}

#[tokio::test]
async fn a_user_at_the_administrators_door_is_counted_as_guessing() {
    let bench = Bench::new().await;
    bench.lab.user("mark").add().await;
    for _ in 0..6 {
        bench.login_admin("mark", "123456").await.is(200, WRONG);
    }
    is_wait(&bench.login("mark", "123456").await, "1");
}

#[tokio::test]
async fn only_wrong_proofs_are_counted() {
    let bench = Bench::new().await;
    bench.lab.user("mark").add().await;
    bench.login("mark", "123456").await.token();
    for _ in 0..10 {
        bench.prove(LOGIN, "mark", &salted("wrong", 1), 1).await.is(200, STALE);
        bench.login("mark", "123456").await.is(200, REPLAYED);
        assert_eq!(bench.prove(LOGIN, "mark", "123456", bench.now()).await.code(), "1001");
        let without_token = json!({ "username": "mark", "password": md5_hex("wrong"), "timestamp": bench.now() });
        assert_eq!(bench.post(LOGIN, "", &without_token).await.code(), "1005");
    }
    bench.pass(1);
    bench.login("mark", "123456").await.token();
}

#[tokio::test]
async fn an_unknown_user_is_told_counted_and_costs_as_a_wrong_password() {
    for reading in ["salted", "digest", "either"] {
        let bench = Bench::with(&[("STELE_TMS_PROOF", reading)]).await;
        bench.lab.user("mark").add().await;
        bench.lab.user("admin").admin().add().await;
        let admins = bench.live_token("admin").await;
        let cost = u64::from(reading != "salted");
        for (path, known, unknown) in [
            (LOGIN, "mark", "nobody"),
            (ADMIN, "admin", "nobody"),
            (ADMIN, "mark", "no\u{1}body"),
            (LOGIN, "admin", "4"),
        ] {
            let mut answers = Vec::new();
            for name in [known, unknown] {
                let before = bench.hashes();
                answers.push(bench.prove(path, name, &salted("wrong", bench.now()), bench.now()).await);
                assert_eq!(bench.hashes() - before, cost, "{reading} {path} {name}");
            }
            answers[0].is(200, WRONG);
            assert_eq!(answers[0], answers[1]);
        }
        for id in [100_001, 4] {
            let before = bench.hashes();
            bench.pwdreset(&admins, id, "wrong", "x").await.is(200, WRONG);
            assert_eq!(bench.hashes() - before, cost, "{reading} {id}");
        }
        for name in ["noone", "no-identifier\u{1}", &"x".repeat(1_000)] {
            bench.fail_six_times(name).await;
            is_wait(&bench.login(name, "wrong").await, "1");
        }
    }
}

#[tokio::test]
async fn an_address_has_a_limit_over_all_accounts() {
    let bench = Bench::with(&[("STELE_LIMIT_ADDRESS", "10")]).await;
    bench.lab.user("mark").add().await;
    for n in 0..10 {
        bench.login(&format!("user{n}"), "wrong").await.is(200, WRONG);
    }
    is_wait(&bench.login("mark", "123456").await, "900");
}

#[tokio::test]
async fn checks_come_in_the_designs_order() {
    let bench = Bench::new().await;
    let user = bench.lab.user("mark").add().await;
    bench.login("mark", "123456").await.token();
    bench.disable(&user, true).await;
    // Disabled is told last, and only to who knows the password.
    bench.login("mark", "wrong").await.is(200, WRONG);
    bench.login("mark", "123456").await.is(200, REPLAYED);
    bench.prove(LOGIN, "mark", &salted("123456", 1), 1).await.is(200, STALE);
    bench.prove(LOGIN, "mark", &md5_hex("123456"), bench.now()).await.is(200, DISABLED);
    bench.pass(1);
    bench.login("mark", "123456").await.is(200, DISABLED);
    bench.login("mark", "123456").await.is(200, REPLAYED);
    // A disabled user's success forgives nothing: one failure was counted above, these are five more.
    for _ in 0..5 {
        bench.login("mark", "wrong").await.is(200, WRONG);
    }
    // The wait comes before staleness, before a wrong, a replayed and a disabled user's proof.
    is_wait(&bench.prove(LOGIN, "mark", &salted("wrong", 1), 1).await, "1");
    is_wait(&bench.login("mark", "wrong").await, "1");
    is_wait(&bench.login("mark", "123456").await, "1");
    // What cannot be read is told before all, then a token that is not there.
    assert_eq!(bench.post(LOGIN, "", &json!({ "username": "mark" })).await.code(), "1001");
    let good = json!({ "username": "mark", "password": salted("123456", bench.now()), "timestamp": bench.now() });
    assert_eq!(bench.post(LOGIN, "", &good).await.code(), "1005");
    bench.disable(&user, false).await;
    bench.pass(1);
    bench.login("mark", "123456").await.token();
}
