//! Freshness and one-time use of salted proofs.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use stele_core::Deps;
use stele_core::origin::Origin;
use stele_core::ports::{Attempt, Verdict};
use stele_testkit::{Moment, md5_hex};

use crate::support::{Bench, DISABLED, LOGIN, PWDRESET, REPLAYED, STALE, WRONG, salted};

#[tokio::test]
async fn a_proof_is_good_for_five_minutes_either_way() {
    let bench = Bench::new().await;
    let user = bench.lab.user("mark").add().await;
    for (offset, fresh) in [(-301, false), (-300, true), (0, true), (300, true), (301, false), (86_400, false)] {
        let at = bench.now() + offset;
        let body = json!({
            "user_id": user.id.to_string(),
            "orig_password": salted("123456", at),
            "new_password": md5_hex("123456"),
            "timestamp": at,
        });
        if fresh {
            bench.post(PWDRESET, &body).await.token();
            // The same proof, so it is used up.
            bench.login_at("mark", "123456", at).await.is(200, REPLAYED);
        } else {
            bench.post(PWDRESET, &body).await.is(200, STALE);
            bench.login_at("mark", "123456", at).await.is(200, STALE);
        }
    }
    for offset in [-299, 299] {
        bench.login_at("mark", "123456", bench.now() + offset).await.token();
    }
}

#[tokio::test]
async fn extreme_timestamps_are_stale_and_nothing_worse() {
    let bench = Bench::new().await;
    bench.lab.user("mark").add().await;
    for at in [0, 1, 1_767_254_400_000, i64::MAX / 1_000_000, i64::MAX - 1, i64::MAX] {
        bench.login_at("mark", "123456", at).await.is(200, STALE);
    }
}

#[tokio::test]
async fn the_skew_is_a_setting() {
    let bench = Bench::with(&[("STELE_TIMESTAMP_SKEW", "10s")]).await;
    bench.lab.user("mark").add().await;
    bench.login_at("mark", "123456", bench.now() - 11).await.is(200, STALE);
    bench.login_at("mark", "123456", bench.now() - 10).await.token();
}

#[tokio::test]
async fn a_proof_is_accepted_once_in_either_letter_case_by_either_call() {
    let bench = Bench::new().await;
    let user = bench.lab.user("mark").phone("13800138000").add().await;
    let now = bench.now();
    bench.login("mark", "123456").await.token();
    bench.login("mark", "123456").await.is(200, REPLAYED);
    bench.login("13800138000", "123456").await.is(200, REPLAYED);
    let upper = json!({ "username": "MARK", "password": salted("123456", now).to_uppercase(), "timestamp": now });
    bench.post(LOGIN, &upper).await.is(200, REPLAYED);
    bench.pwdreset(user.id.to_string(), "123456", "654321").await.is(200, REPLAYED);
    bench.pass(1);
    bench.pwdreset(user.id.to_string(), "123456", "654321").await.token();
    bench.pwdreset(user.id.to_string(), "123456", "abcdef").await.is(200, WRONG);
    bench.login("mark", "654321").await.token();
}

#[tokio::test]
async fn a_proof_is_remembered_for_as_long_as_it_would_be_fresh() {
    let bench = Bench::new().await;
    bench.lab.user("mark").add().await;
    let ahead = bench.now() + 300;
    bench.login_at("mark", "123456", ahead).await.token();
    for _ in 0..10 {
        bench.pass(60);
        bench.lab.deps().state.sweep(bench.lab.deps().now()).await.unwrap();
        bench.login_at("mark", "123456", ahead).await.is(200, REPLAYED);
    }
    bench.pass(1);
    bench.login_at("mark", "123456", ahead).await.is(200, STALE);
}

#[tokio::test]
async fn a_proof_is_remembered_when_the_clock_is_set_back_by_an_hour() {
    let bench = Bench::new().await;
    bench.lab.user("mark").add().await;
    let at = bench.now();
    bench.login_at("mark", "123456", at).await.token();
    bench.pass(3_600 + 300);
    bench.lab.deps().state.sweep(bench.lab.deps().now()).await.unwrap();
    bench.login_at("mark", "123456", at).await.is(200, STALE);
    bench.login("mark", "123456").await.token();
    bench.lab.clock().set(stele_core::time::Timestamp::from_secs(at + 300));
    bench.login_at("mark", "123456", at).await.is(200, REPLAYED);
    bench.login("mark", "123456").await.token();
}

#[tokio::test]
async fn a_proof_is_accepted_once_by_all_instances_and_restarts() {
    let bench = Bench::new().await;
    bench.lab.user("mark").add().await;
    let now = bench.now();
    bench.login("mark", "123456").await.token();
    // Another instance has its own handles and connections, and this one's use is known to it; and the other way round.
    let other = Bench::on(bench.lab.another().await).await;
    other.login_at("mark", "123456", now).await.is(200, REPLAYED);
    other.login_at("mark", "123456", now + 1).await.token();
    bench.login_at("mark", "123456", now + 1).await.is(200, REPLAYED);
    other.service.stop().await;
    drop(other.lab);
    // Nothing of it was only in memory.
    bench.service.stop().await;
    let again = Bench::on(bench.lab.restarted().await).await;
    for at in [now, now + 1] {
        again.login_at("mark", "123456", at).await.is(200, REPLAYED);
    }
    again.login_at("mark", "123456", now + 2).await.token();
}

#[tokio::test]
async fn only_one_of_many_at_once_gets_in() {
    let bench = Bench::new().await;
    bench.lab.user("mark").add().await;
    let answers = log_in_at_once(&bench, 16).await;
    assert_eq!(answers.iter().filter(|code| *code == "0000").count(), 1, "{answers:?}");
    assert_eq!(answers.iter().filter(|code| *code == "1004").count(), 15, "{answers:?}");
}

async fn log_in_at_once(bench: &Bench, n: usize) -> Vec<String> {
    let now = bench.now();
    let body = json!({ "username": "mark", "password": salted("123456", now), "timestamp": now });
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..n {
        let request = bench.request(LOGIN).json(&body);
        tasks.spawn(async move { request.send().await.unwrap().json::<serde_json::Value>().await.unwrap() });
    }
    tasks.join_all().await.iter().map(|answer| answer["code"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn proofs_from_before_an_empty_store_was_born_are_stale() {
    let bench = Bench::new().await;
    bench.lab.user("mark").add().await;
    let birth = bench.lab.deps().state.birth().await.unwrap();
    bench.lab.clock().set(birth);
    bench.login("mark", "123456").await.is(200, STALE);
    bench.login_at("mark", "123456", bench.now() - 1).await.is(200, STALE);
    bench.pass(1);
    bench.login("mark", "123456").await.token();
}

#[tokio::test]
async fn without_a_skew_a_proof_is_remembered_for_thirty_days() {
    let bench = Bench::with(&[("STELE_TIMESTAMP_SKEW", "0")]).await;
    bench.lab.user("mark").add().await;
    bench.login_at("mark", "123456", 1).await.token();
    bench.pass(30 * 86_400 - 1);
    bench.lab.deps().state.sweep(bench.lab.deps().now()).await.unwrap();
    bench.login_at("mark", "123456", 1).await.is(200, REPLAYED);
}

#[tokio::test]
async fn without_a_skew_a_used_proof_survives_the_loss_of_the_short_lived_store() {
    let bench = Bench::with(&[("STELE_TIMESTAMP_SKEW", "0")]).await;
    let user = bench.lab.user("mark").add().await;
    bench.login_at("mark", "123456", 1).await.token();
    bench.disable(&user, true).await;
    bench.login_at("mark", "123456", 2).await.is(200, DISABLED);
    bench.disable(&user, false).await;
    // All that it holds expires; what the users' database holds does not.
    let later = bench.lab.deps().now().after(Duration::from_secs(40 * 86_400));
    bench.lab.deps().state.sweep(later).await.unwrap();
    for at in [1, 2] {
        bench.login_at("mark", "123456", at).await.is(200, REPLAYED);
    }
    bench.login_at("mark", "123456", 3).await.token();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_skew_what_the_limits_refuse_is_not_used_up() {
    let bench = Bench::with(&[("STELE_TIMESTAMP_SKEW", "0")]).await;
    bench.lab.user("mark").add().await;
    for at in 0..6 {
        bench.login_at("mark", "wrong", at).await.is(200, WRONG);
    }
    assert_eq!(bench.login_at("mark", "123456", 7).await.status, 429);
    // Refused at the last moment: others failed between the two looks at the limits.
    bench.pass(60);
    let (deps, name) = (bench.lab.deps().clone(), "mark");
    let attempt = attempt_at(&deps, name).await;
    let (handle, once) = (tokio::runtime::Handle::current(), std::sync::Once::new());
    bench.lab.watch(Some(Arc::new(move |call, moment| {
        if (call, moment) == ("use_proof", Moment::After) {
            once.call_once(|| {
                let (deps, attempt) = (deps.clone(), attempt.clone());
                let fail = async move { deps.state.settle(&attempt, &Verdict::Wrong).await };
                std::thread::scope(|scope| {
                    scope.spawn(|| handle.block_on(fail)).join().unwrap().unwrap();
                });
            });
        }
        false
    })));
    assert_eq!(bench.login_at("mark", "123456", 7).await.status, 429);
    bench.lab.watch(None);
    bench.pass(60);
    bench.login_at("mark", "123456", 7).await.token();
    bench.login_at("mark", "123456", 7).await.is(200, REPLAYED);
}

/// A failure at `name`'s account, from elsewhere.
async fn attempt_at(deps: &Deps, name: &str) -> Attempt {
    let account = deps.users.find(name).await.unwrap().unwrap();
    Attempt {
        account: Attempt::account_key(Some(account.user.id), name),
        epoch: account.epoch,
        origin: Origin::address([198, 51, 100, 7].into()),
        now: deps.now(),
        proof_made: None,
        limits: deps.policy.guessing,
    }
}

#[tokio::test]
async fn nothing_but_the_users_own_salted_digest_proves() {
    let bench = Bench::new().await;
    bench.lab.user("mark").add().await;
    bench.lab.user("anna").password("hna123").add().await;
    let now = bench.now();
    let digest = md5_hex("123456");
    for (what, proof) in [
        ("another user's", salted("hna123", now)),
        ("D itself", digest.clone()),
        ("of another second", salted("123456", now - 1)),
        ("of uppercase D", md5_hex(&format!("{}{now}", digest.to_uppercase()))),
        ("of the raw password", md5_hex(&format!("123456{now}"))),
        ("the timestamp first", md5_hex(&format!("{now}{digest}"))),
        ("of a digit moved from the timestamp", md5_hex(&format!("{digest}{}", now / 10))),
    ] {
        // A user each, so that no wait begins.
        let name = format!("user-{}", md5_hex(what));
        bench.lab.user(&name).add().await;
        let body = json!({ "username": name, "password": proof, "timestamp": now });
        let answer = bench.post(LOGIN, &body).await;
        assert_eq!(answer.text, WRONG, "{what}");
    }
}

#[tokio::test]
async fn without_sealed_digests_nothing_proves() {
    let bench = Bench::with(&[("STELE_SALTED", "false")]).await;
    let user = bench.lab.user("mark").add().await;
    bench.login("mark", "123456").await.is(200, WRONG);
    bench.pwdreset(user.id.to_string(), "123456", "654321").await.is(200, WRONG);
}
