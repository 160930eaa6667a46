//! Guessing: waits, who shares them, and that nobody learns who exists.

use serde_json::json;
use stele_core::password::{NewPassword, RawPassword};

use crate::support::{Answer, Bench, DISABLED, LOGIN, REPLAYED, STALE, TOO_MANY, WRONG, by_id, salted};

impl Bench {
    /// Six failures: five are free, the sixth starts a wait of a second.
    async fn fail_six_times(&self, username: &str) {
        for _ in 0..6 {
            self.login(username, "wrong").await.is(200, WRONG);
        }
    }
}

fn is_wait(answer: &Answer, seconds: &str) {
    answer.is(429, TOO_MANY);
    assert_eq!(answer.retry_after.as_deref(), Some(seconds));
}

#[tokio::test]
async fn the_sixth_failure_starts_a_wait_that_the_right_password_does_not_break() {
    let bench = Bench::new().await;
    bench.lab.user("mark").add().await;
    bench.fail_six_times("mark").await;
    is_wait(&bench.login("mark", "wrong").await, "1");
    is_wait(&bench.login("mark", "123456").await, "1");
    bench.pass(1);
    bench.login("mark", "123456").await.token();
}

#[tokio::test]
async fn waits_double_up_to_a_minute() {
    let bench = Bench::new().await;
    bench.lab.user("mark").add().await;
    bench.fail_six_times("mark").await;
    for wait in [1, 2, 4, 8, 16, 32, 60, 60] {
        is_wait(&bench.login("mark", "wrong").await, &wait.to_string());
        bench.pass(wait);
        bench.login("mark", "wrong").await.is(200, WRONG);
    }
}

#[tokio::test]
async fn a_success_clears_the_accounts_count() {
    let bench = Bench::new().await;
    bench.lab.user("mark").add().await;
    for _ in 0..3 {
        for _ in 0..5 {
            bench.login("mark", "wrong").await.is(200, WRONG);
        }
        bench.pass(1);
        bench.login("mark", "123456").await.token();
    }
}

#[tokio::test]
async fn the_count_is_shared_by_name_phone_email_and_id() {
    let bench = Bench::new().await;
    let user = bench.lab.user("Mark").phone("13800138000").email("a@b.cn").add().await;
    for username in ["mark", "MARK", "13800138000", "+8613800138000", "A@B.CN"] {
        bench.login(username, "wrong").await.is(200, WRONG);
    }
    bench.pwdreset(user.id.to_string(), "wrong", "654321").await.is(200, WRONG);
    is_wait(&bench.pwdreset(user.id.to_string().replace('-', ""), "123456", "654321").await, "1");
    is_wait(&bench.login("a@b.cn", "123456").await, "1");
}

#[tokio::test]
async fn only_wrong_proofs_are_counted() {
    let bench = Bench::new().await;
    bench.lab.user("mark").add().await;
    bench.login("mark", "123456").await.token();
    for _ in 0..10 {
        bench.login_at("mark", "wrong", bench.now() - 301).await.is(200, STALE);
        bench.login("mark", "123456").await.is(200, REPLAYED);
        let unreadable = json!({ "username": "mark", "password": "123456", "timestamp": bench.now() });
        assert_eq!(bench.post(LOGIN, &unreadable).await.code(), "1001");
    }
    bench.pass(1);
    bench.login("mark", "123456").await.token();
}

#[tokio::test]
async fn an_unknown_user_is_told_counted_and_costs_as_a_wrong_password() {
    let bench = Bench::new().await;
    let user = bench.lab.user("mark").add().await;
    let nobody = "0b922f14-d00b-11e7-aafd-525400bbac8e";
    let before = bench.hashes();
    for (known, unknown) in [
        (bench.login("mark", "wrong").await, bench.login("nobody", "wrong").await),
        (bench.login("mark", "").await, bench.login("no\u{1}body", "").await),
        (bench.pwdreset(user.id.to_string(), "wrong", "x").await, bench.pwdreset(nobody, "wrong", "x").await),
        (bench.pwdreset(user.id.to_string(), "wrong", "x").await, bench.pwdreset(4, "wrong", "x").await),
    ] {
        known.is(200, WRONG);
        assert_eq!(known, unknown);
    }
    // A salted proof costs no password hash, whoever it is for.
    assert_eq!(bench.hashes(), before);

    for name in ["noone", "no-identifier\u{1}", &"x".repeat(1_000)] {
        bench.fail_six_times(name).await;
        is_wait(&bench.login(name, "wrong").await, "1");
    }
    for _ in 0..5 {
        bench.pwdreset(nobody.replace('-', ""), "wrong", "x").await.is(200, WRONG);
    }
    is_wait(&bench.pwdreset(nobody.to_uppercase(), "wrong", "x").await, "1");
}

#[tokio::test]
async fn a_user_number_finds_no_user() {
    let bench = Bench::new().await;
    let user = bench.lab.user("mark").add().await;
    // As the right password is answered for an unknown UUID, and counted just so.
    for turn in 0..6 {
        let id = if turn % 2 == 0 { json!(user.number) } else { json!(user.number.to_string()) };
        bench.pwdreset(id, "123456", "654321").await.is(200, WRONG);
    }
    is_wait(&bench.pwdreset(user.number, "123456", "654321").await, "1");
    // The owner's own budget is untouched, and so is the password.
    bench.login("mark", "123456").await.token();
}

#[tokio::test]
async fn an_address_has_a_limit_over_all_accounts() {
    let bench = Bench::with(&[("STELE_LIMIT_ADDRESS", "10")]).await;
    bench.lab.user("mark").add().await;
    for n in 0..10 {
        bench.login(&format!("user{n}"), "wrong").await.is(200, WRONG);
    }
    is_wait(&bench.login("mark", "123456").await, "900");
    bench.pass(900);
    bench.login("mark", "123456").await.token();
}

#[tokio::test]
async fn strangers_do_not_keep_the_owner_out() {
    let bench = Bench::with(&[("STELE_TRUSTED_PROXIES", "127.0.0.1")]).await;
    bench.lab.user("mark").add().await;
    let from = async |address: &str, password: &str, at: i64| {
        let body = json!({ "username": "mark", "password": salted(password, at), "timestamp": at });
        bench.send(bench.request(LOGIN).header("x-forwarded-for", address).json(&body)).await
    };
    let now = bench.now();
    from("198.51.100.7", "123456", now).await.token();
    for n in 0..6 {
        from(&format!("203.0.113.{n}"), "wrong", now).await.is(200, WRONG);
    }
    is_wait(&from("203.0.113.99", "123456", now + 1).await, "1");
    from("198.51.100.7", "123456", now + 2).await.token();
}

#[tokio::test]
async fn an_address_is_not_believed_from_anyone() {
    let bench = Bench::with(&[("STELE_LIMIT_ADDRESS", "5")]).await;
    for n in 0..5 {
        let body =
            json!({ "username": format!("u{n}"), "password": salted("x", bench.now()), "timestamp": bench.now() });
        let request = bench.request(LOGIN).header("x-forwarded-for", format!("203.0.113.{n}")).json(&body);
        bench.send(request).await.is(200, WRONG);
    }
    assert_eq!(bench.login("mark", "123456").await.status, 429);
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
    bench.login_at("mark", "123456", bench.now() - 301).await.is(200, STALE);
    bench.pass(1);
    bench.login("mark", "123456").await.is(200, DISABLED);
    bench.login("mark", "123456").await.is(200, REPLAYED);
    bench.pass(1);
    bench.pwdreset(user.id.to_string(), "123456", "654321").await.is(200, DISABLED);
    // A disabled user's success forgives nothing: one failure was counted above, these are five more.
    for _ in 0..5 {
        bench.login("mark", "wrong").await.is(200, WRONG);
    }
    // The wait comes before staleness, before a wrong, a replayed and a disabled user's proof.
    is_wait(&bench.login_at("mark", "wrong", 1).await, "1");
    is_wait(&bench.login("mark", "wrong").await, "1");
    is_wait(&bench.login("mark", "123456").await, "1");
    // What cannot be read is told before all.
    let unreadable = json!({ "username": "mark", "password": "x", "timestamp": 1 });
    assert_eq!(bench.post(LOGIN, &unreadable).await.code(), "1001");
    // Letting the user in again keeps the password.
    bench.disable(&user, false).await;
    bench.pass(1);
    bench.login("mark", "123456").await.token();
}

#[tokio::test]
async fn a_password_that_an_administrator_sets_works_here() {
    let bench = Bench::new().await;
    let user = bench.lab.user("mark").add().await;
    let short = NewPassword::provisioned(&RawPassword::new("1".to_owned())).unwrap();
    bench.lab.use_cases().provision_password(by_id(user.id), &short).await.unwrap();
    bench.login("mark", "123456").await.is(200, WRONG);
    bench.login("mark", "1").await.token();
}
