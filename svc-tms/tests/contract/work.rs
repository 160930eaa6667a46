//! What calls cost, counted: hashes and trips to the stores. Whoever is nobody costs what a wrong password costs.

use stele_testkit::conformance::DialectUnderTest as _;
use stele_testkit::conformance::salted::salted;
use stele_testkit::{MessageCode as _, Work, md5_hex};

use crate::app::{ADMIN, App, LOGIN, WRONG};

#[tokio::test]
async fn an_unknown_user_costs_what_a_wrong_password_costs() {
    for reading in ["salted", "digest", "either"] {
        let app = App::with(&[("STELE_TMS_PROOF", reading)]).await;
        app.lab.user("mark").add().await;
        app.lab.user("admin").admin().add().await;
        let admins = app.live_token("admin").await;
        let (hashes, booked): (u64, &[_]) =
            if reading == "salted" { (0, &["settle"]) } else { (1, &["admit", "settle"]) };
        // The token first, that every call carries.
        let cost = Work::of(hashes, &["client_token", "find"], booked);
        for path in [LOGIN, ADMIN] {
            for name in ["mark", "admin", "nobody", "no\u{1}body", "4", &"x".repeat(1_000)] {
                let (answer, work) = app.lab.work(app.prove(path, name, &salted("wrong", app.now()), app.now())).await;
                answer.is(200, WRONG);
                assert_eq!(work, cost, "{reading} {path} {name}");
            }
        }
        let booked: Vec<_> = ["session"].iter().chain(booked).copied().collect();
        for id in [100_001, 4] {
            let (answer, work) = app.lab.work(app.pwdreset(&admins, id, "wrong", "x")).await;
            answer.is(200, WRONG);
            assert_eq!(work, Work::of(hashes, &["find_ref", "find_ref"], &booked), "{reading} {id}");
        }
    }
}

#[tokio::test]
async fn the_administrators_door_costs_a_user_what_it_costs_an_administrator() {
    let app = App::new().await;
    app.lab.user("mark").add().await;
    app.lab.user("admin").admin().add().await;
    let (let_in, cost) = app.lab.work(app.login_admin("admin", "123456")).await;
    let_in.token();
    let (kept_out, same) = app.lab.work(app.login_admin("mark", "123456")).await;
    kept_out.is(200, WRONG);
    assert_eq!(same, cost);
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
        let app = App::with(&[("STELE_TMS_PROOF", reading)]).await;
        app.lab.user("mark").add().await;
        let (answer, work) = app.lab.work(app.prove(LOGIN, "mark", &proof("123456", app.now()), app.now())).await;
        answer.token();
        assert_eq!(work, cost, "{reading}");
    }
}
