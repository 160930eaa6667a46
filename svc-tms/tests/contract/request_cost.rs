//! The cost of calls in password hashes and store round trips. An unknown user costs the same as a wrong password, so
//! that timing permits no user enumeration.

use stele_testkit::conformance::DialectUnderTest as _;
use stele_testkit::conformance::salted::salted_digest;
use stele_testkit::{MessageCode as _, RequestCost, md5_hex};

use crate::test_service::{ADMIN_LOGIN, LOGIN, TestService, WRONG_CREDENTIALS};

#[tokio::test]
async fn an_unknown_user_costs_the_same_operations_as_a_wrong_password() {
    for format in ["salted", "digest", "either"] {
        let service = TestService::with_settings(&[("STELE_TMS_PROOF", format)]).await;
        service.lab.user("mark").add().await;
        service.lab.user("admin").admin().add().await;
        let admin_token = service.open_session_token("admin").await;
        let (hashes, state_calls): (u64, &[_]) =
            if format == "salted" { (0, &["settle"]) } else { (1, &["admit", "settle"]) };
        // Every call checks its token first.
        let cost = RequestCost::new(hashes, &["client_token", "find"], state_calls);
        for path in [LOGIN, ADMIN_LOGIN] {
            for name in ["mark", "admin", "unknown", "un\u{1}known", "4", &"x".repeat(1_000)] {
                let (response, measured_cost) = service
                    .lab
                    .measure_cost(service.login_with_proof(
                        path,
                        name,
                        &salted_digest("wrong", service.now()),
                        service.now(),
                    ))
                    .await;
                response.assert_is(200, WRONG_CREDENTIALS);
                assert_eq!(measured_cost, cost, "{format} {path} {name}");
            }
        }
        let state_calls: Vec<_> = ["session"].iter().chain(state_calls).copied().collect();
        for id in [100_001, 4] {
            let (response, measured_cost) =
                service.lab.measure_cost(service.pwdreset(&admin_token, id, "wrong", "x")).await;
            response.assert_is(200, WRONG_CREDENTIALS);
            assert_eq!(
                measured_cost,
                RequestCost::new(hashes, &["find_ref", "find_ref"], &state_calls),
                "{format} {id}"
            );
        }
    }
}

#[tokio::test]
async fn the_admin_login_costs_users_and_administrators_the_same_operations() {
    let service = TestService::new().await;
    service.lab.user("mark").add().await;
    service.lab.user("admin").admin().add().await;
    let (accepted, admin_cost) = service.lab.measure_cost(service.login_admin("admin", "123456")).await;
    accepted.token();
    let (rejected, user_cost) = service.lab.measure_cost(service.login_admin("mark", "123456")).await;
    rejected.assert_is(200, WRONG_CREDENTIALS);
    assert_eq!(user_cost, admin_cost);
}

/// Makes the proof of a password at a time in Unix seconds.
type MakeProof = fn(&str, i64) -> String;

#[tokio::test]
async fn a_login_makes_the_minimum_number_of_store_round_trips() {
    let cases: [(&str, MakeProof, RequestCost); 4] = [
        ("salted", salted_digest, RequestCost::new(0, &["client_token", "find"], &["settle"])),
        // The format is known only after the check, and the rate limit must be checked before a hash is computed.
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
    for (format, make_proof, cost) in cases {
        let service = TestService::with_settings(&[("STELE_TMS_PROOF", format)]).await;
        service.lab.user("mark").add().await;
        let (response, measured_cost) = service
            .lab
            .measure_cost(service.login_with_proof(LOGIN, "mark", &make_proof("123456", service.now()), service.now()))
            .await;
        response.token();
        assert_eq!(measured_cost, cost, "{format}");
    }
}
