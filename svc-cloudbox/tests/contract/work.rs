//! What calls cost, counted: hashes and trips to the stores. Whoever is nobody costs what a wrong password costs.

use stele_testkit::Work;

use crate::support::{Bench, STALE, WRONG};

#[tokio::test]
async fn an_unknown_user_costs_what_a_wrong_password_costs() {
    let bench = Bench::new().await;
    let user = bench.lab.user("mark").add().await;
    // A salted proof costs no password hash, whoever it is for.
    let cost = Work::of(0, &["find"], &["settle"]);
    for name in ["mark", "nobody", "no\u{1}body", &"x".repeat(1_000)] {
        let (answer, work) = bench.lab.work(bench.login(name, "wrong")).await;
        answer.is(200, WRONG);
        assert_eq!(work, cost, "{name}");
    }
    let cost = Work::of(0, &["find_ref"], &["settle"]);
    let (id, number) = (user.id.to_string(), user.number.to_string());
    for user in [&id, "0b922f14-d00b-11e7-aafd-525400bbac8e", &number, "4"] {
        let (answer, work) = bench.lab.work(bench.pwdreset(user, "wrong", "x")).await;
        answer.is(200, WRONG);
        assert_eq!(work, cost, "{user}");
    }
}

#[tokio::test]
async fn a_stale_proof_costs_the_same_whoever_it_is_for() {
    let bench = Bench::new().await;
    bench.lab.user("mark").add().await;
    for (name, password) in [("mark", "123456"), ("mark", "wrong"), ("nobody", "wrong")] {
        let (answer, work) = bench.lab.work(bench.login_at(name, password, bench.now() - 301)).await;
        answer.is(200, STALE);
        assert_eq!(work, Work::of(0, &["find"], &["admit"]), "{name}");
    }
}

#[tokio::test]
async fn a_login_makes_one_trip_to_each_store() {
    let bench = Bench::new().await;
    bench.lab.user("mark").add().await;
    let (answer, work) = bench.lab.work(bench.login("mark", "123456")).await;
    let token = answer.token();
    assert_eq!(work, Work::of(0, &["find"], &["settle"]));
    let (_, work) = bench.lab.work(bench.logout(&token)).await;
    assert_eq!(work, Work::of(0, &["find_ref"], &["session", "end_session"]));
}
