//! Contract tests of the cloudbox service over HTTP.

#![expect(clippy::unwrap_used, reason = "a test's set-up may panic")]

mod documented_calls;
mod rate_limits;
mod request_cost;
mod sessions;
mod test_service;
mod unavailability;
mod vectors;

stele_testkit::conformance!(test_service::TestService, sessions, salted);

#[tokio::test]
async fn login_matches_the_golden_transcript() {
    let lab = stele_testkit::TestLab::new().await;
    lab.user("mark").add().await;
    stele_testkit::assert_golden(&lab.start_service(svc_cloudbox::SERVICE).await, "tests/golden/login.http").await;
}

#[tokio::test]
async fn pwdreset_matches_the_golden_transcript() {
    let lab = stele_testkit::TestLab::new().await;
    lab.user("mark").add().await;
    stele_testkit::assert_golden(&lab.start_service(svc_cloudbox::SERVICE).await, "tests/golden/pwdreset.http").await;
}
