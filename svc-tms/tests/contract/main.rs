//! Contract tests of the TMS service over HTTP.

#![expect(clippy::unwrap_used, reason = "a test's set-up may panic")]

mod authorization;
mod documented_calls;
mod proofs;
mod rate_limits;
mod request_cost;
mod sessions;
mod test_service;
mod unavailability;

stele_testkit::conformance!(test_service::TestService, sessions, salted);

/// The first client token of a [`stele_testkit::TestLab`], which the golden transcripts contain.
const CLIENT_TOKEN: &str = "8005f02d43fa06e7d0585fb64c961d57";

#[tokio::test]
async fn login_matches_the_golden_transcript() {
    let lab = stele_testkit::TestLab::new().await;
    assert_eq!(lab.add_client_token("kiosk").await, CLIENT_TOKEN);
    lab.user("mark").add().await;
    lab.user("admin").password("hna123").admin().add().await;
    stele_testkit::assert_golden(&lab.start_service(svc_tms::SERVICE).await, "tests/golden/login.http").await;
}

#[tokio::test]
async fn pwdreset_matches_the_golden_transcript() {
    let lab = stele_testkit::TestLab::new().await;
    assert_eq!(lab.add_client_token("kiosk").await, CLIENT_TOKEN);
    lab.user("mark").add().await;
    stele_testkit::assert_golden(&lab.start_service(svc_tms::SERVICE).await, "tests/golden/pwdreset.http").await;
}
