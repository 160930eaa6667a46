//! Contract tests of the cloudbox service over HTTP.

#![expect(clippy::unwrap_used, reason = "a test's set-up may panic")]

mod documented_calls;
mod rate_limits;
mod request_cost;
mod sessions;
mod test_service;
mod unavailability;
mod vectors;

stele_testkit::conformance!(test_service::TestService, sessions, salted, new_passwords);

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

#[tokio::test]
async fn a_common_password_matches_the_golden_transcript() {
    let lab = stele_testkit::TestLab::with_settings(&[("STELE_PASSWORD_LIST", "refuse")]).await;
    let service = lab.start_service(svc_cloudbox::SERVICE).await;
    stele_testkit::assert_golden(&service, "tests/golden/common_password.http").await;
}

#[tokio::test]
async fn legacy_ids_match_the_golden_transcript() {
    let lab = stele_testkit::TestLab::new().await;
    lab.import_user().await;
    stele_testkit::assert_golden(&lab.start_service(svc_cloudbox::SERVICE).await, "tests/golden/legacy_ids.http").await;
}
