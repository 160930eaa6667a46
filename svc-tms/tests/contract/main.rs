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

stele_testkit::conformance!(test_service::TestService, sessions, salted, new_passwords);

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

#[tokio::test]
async fn a_common_password_matches_the_golden_transcript() {
    let lab = stele_testkit::TestLab::with_settings(&[("STELE_PASSWORD_LIST", "refuse")]).await;
    let service = lab.start_service(svc_tms::SERVICE).await;
    stele_testkit::assert_golden(&service, "tests/golden/common_password.http").await;
}

#[tokio::test]
async fn legacy_ids_match_the_golden_transcript() {
    let lab = stele_testkit::TestLab::new().await;
    assert_eq!(lab.add_client_token("kiosk").await, CLIENT_TOKEN);
    lab.import_user().await;
    stele_testkit::assert_golden(&lab.start_service(svc_tms::SERVICE).await, "tests/golden/legacy_ids.http").await;
}
