//! What calls cost, counted: hashes and trips to the stores. Whoever is nobody costs what a wrong password costs.

use stele_testkit::conformance::DialectUnderTest as _;
use stele_testkit::conformance::salted::salted_digest;
use stele_testkit::{MessageCode as _, RequestCost, md5_hex};

use crate::test_service::{ADMIN_LOGIN, LOGIN, TestService, WRONG_CREDENTIALS};

#[tokio::test]
async fn an_unknown_user_costs_the_same_operations_as_a_wrong_password() {
    for reading in ["salted", "digest", "either"] {
        let app = TestService::with_settings(&[("STELE_TMS_PROOF", reading)]).await;
        app.lab.user("mark").add().await;
        app.lab.user("admin").admin().add().await;
        let admins = app.open_session_token("admin").await;
        let (hashes, booked): (u64, &[_]) =
            if reading == "salted" { (0, &["settle"]) } else { (1, &["admit", "settle"]) };
        // The token first, that every call carries.
        let cost = RequestCost::new(hashes, &["client_token", "find"], booked);
        for path in [LOGIN, ADMIN_LOGIN] {
            for name in ["mark", "admin", "nobody", "no\u{1}body", "4", &"x".repeat(1_000)] {
                let (answer, work) = app
                    .lab
                    .measure_cost(app.login_with_proof(path, name, &salted_digest("wrong", app.now()), app.now()))
                    .await;
                answer.assert_is(200, WRONG_CREDENTIALS);
                assert_eq!(work, cost, "{reading} {path} {name}");
            }
        }
        let booked: Vec<_> = ["session"].iter().chain(booked).copied().collect();
        for id in [100_001, 4] {
            let (answer, work) = app.lab.measure_cost(app.pwdreset(&admins, id, "wrong", "x")).await;
            answer.assert_is(200, WRONG_CREDENTIALS);
            assert_eq!(work, RequestCost::new(hashes, &["find_ref", "find_ref"], &booked), "{reading} {id}");
        }
    }
}

#[tokio::test]
async fn the_admin_login_costs_users_and_administrators_the_same_operations() {
    let app = TestService::new().await;
    app.lab.user("mark").add().await;
    app.lab.user("admin").admin().add().await;
    let (let_in, cost) = app.lab.measure_cost(app.login_admin("admin", "123456")).await;
    let_in.token();
    let (kept_out, same) = app.lab.measure_cost(app.login_admin("mark", "123456")).await;
    kept_out.assert_is(200, WRONG_CREDENTIALS);
    assert_eq!(same, cost);
}

/// A proof of a password at a time.
type MakeProof = fn(&str, i64) -> String;

#[tokio::test]
async fn a_login_makes_the_minimum_number_of_store_round_trips() {
    let cases: [(&str, MakeProof, RequestCost); 4] = [
        ("salted", salted_digest, RequestCost::new(0, &["client_token", "find"], &["settle"])),
        // Whether it is salted is known only afterwards, and a hash must not be computed before the limits are asked.
        ("either", salted_digest, RequestCost::new(0, &["client_token", "find"], &["admit", "settle"])),
        (
            "either",
            |password, _| md5_hex(password),
            RequestCost::new(1, &["client_token", "find"], &["admit", "settle"]),
        ),
        (
            "digest",
            |password, _| md5_hex(password),
            RequestCost::new(1, &["client_token", "find"], &["admit", "settle"]),
        ),
    ];
    for (reading, proof, cost) in cases {
        let app = TestService::with_settings(&[("STELE_TMS_PROOF", reading)]).await;
        app.lab.user("mark").add().await;
        let (answer, work) =
            app.lab.measure_cost(app.login_with_proof(LOGIN, "mark", &proof("123456", app.now()), app.now())).await;
        answer.token();
        assert_eq!(work, cost, "{reading}");
    }
}
