//! What calls cost, counted: hashes and trips to the stores. Whoever is nobody costs what a wrong password costs.

use stele_testkit::{Work, md5_hex};

use crate::support::{ADMIN, Bench, LOGIN, STALE, WRONG, salted};

#[tokio::test]
async fn an_unknown_user_costs_what_a_wrong_password_costs() {
    for reading in ["salted", "digest", "either"] {
        let bench = Bench::with(&[("STELE_TMS_PROOF", reading)]).await;
        bench.lab.user("mark").add().await;
        bench.lab.user("admin").admin().add().await;
        let admins = bench.live_token("admin").await;
        let (hashes, booked): (u64, &[_]) =
            if reading == "salted" { (0, &["settle"]) } else { (1, &["admit", "settle"]) };
        // The token first, that every call carries.
        let cost = Work::of(hashes, &["client_token", "find"], booked);
        for path in [LOGIN, ADMIN] {
            for name in ["mark", "admin", "nobody", "no\u{1}body", "4", &"x".repeat(1_000)] {
                let (answer, work) =
                    bench.lab.work(bench.prove(path, name, &salted("wrong", bench.now()), bench.now())).await;
                answer.is(200, WRONG);
                assert_eq!(work, cost, "{reading} {path} {name}");
            }
        }
        let booked: Vec<_> = ["session"].iter().chain(booked).copied().collect();
        for id in [100_001, 4] {
            let (answer, work) = bench.lab.work(bench.pwdreset(&admins, id, "wrong", "x")).await;
            answer.is(200, WRONG);
            assert_eq!(work, Work::of(hashes, &["find_ref", "find_ref"], &booked), "{reading} {id}");
        }
    }
}

#[tokio::test]
async fn the_administrators_door_costs_a_user_what_it_costs_an_administrator() {
    let bench = Bench::new().await;
    bench.lab.user("mark").add().await;
    bench.lab.user("admin").admin().add().await;
    let (let_in, cost) = bench.lab.work(bench.login_admin("admin", "123456")).await;
    let_in.token();
    let (kept_out, same) = bench.lab.work(bench.login_admin("mark", "123456")).await;
    kept_out.is(200, WRONG);
    assert_eq!(same, cost);
}

#[tokio::test]
async fn a_stale_proof_costs_the_same_whoever_it_is_for() {
    let bench = Bench::new().await;
    bench.lab.user("mark").add().await;
    let then = bench.now() - 301;
    for (name, password) in [("mark", "123456"), ("mark", "wrong"), ("nobody", "wrong")] {
        let (answer, work) = bench.lab.work(bench.prove(LOGIN, name, &salted(password, then), then)).await;
        answer.is(200, STALE);
        assert_eq!(work, Work::of(0, &["client_token", "find"], &["admit"]), "{name}");
    }
}

/// A proof of a password at a time.
type Prove = fn(&str, i64) -> String;

#[tokio::test]
async fn a_login_makes_no_more_trips_than_it_must() {
    let cases: [(&str, Prove, Work); 4] = [
        ("salted", salted, Work::of(0, &["client_token", "find"], &["settle"])),
        // Whether it is salted is known only afterwards, and a hash must not be computed before the limits are asked.
        ("either", salted, Work::of(0, &["client_token", "find"], &["admit", "settle"])),
        ("either", |password, _| md5_hex(password), Work::of(1, &["client_token", "find"], &["admit", "settle"])),
        ("digest", |password, _| md5_hex(password), Work::of(1, &["client_token", "find"], &["admit", "settle"])),
    ];
    for (reading, proof, cost) in cases {
        let bench = Bench::with(&[("STELE_TMS_PROOF", reading)]).await;
        bench.lab.user("mark").add().await;
        let (answer, work) =
            bench.lab.work(bench.prove(LOGIN, "mark", &proof("123456", bench.now()), bench.now())).await;
        answer.token();
        assert_eq!(work, cost, "{reading}");
    }
}

/// What single calls cannot show: the owner's login in the middle changes nothing for others.
#[tokio::test]
async fn a_sequence_of_calls_answers_and_costs_the_same_for_an_unknown_user() {
    let bench = Bench::new().await;
    bench.lab.user("mark").add().await;
    let mut seen = Vec::new();
    for name in ["mark", "nobody"] {
        let mut calls = Vec::new();
        for n in 0..12 {
            if n == 4 {
                bench.lab.owner_logs_in("mark", "123456").await;
            }
            let proof = salted("wrong", bench.now());
            let (answer, work) = bench.lab.work(bench.prove(LOGIN, name, &proof, bench.now())).await;
            calls.push((answer.status, answer.text, answer.retry_after, work));
            bench.pass(1);
        }
        seen.push(calls);
    }
    assert_eq!(seen[0], seen[1]);
    assert!(seen[0].iter().any(|(status, ..)| *status == 429), "the limits were met");
}
