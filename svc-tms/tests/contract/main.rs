//! The TMS service alone, over HTTP.

#![expect(clippy::unwrap_used, reason = "a test's set-up may panic")]

mod app;
mod documented;
mod faults;
mod limits;
mod proofs;
mod sessions;
mod tokens;
mod work;

stele_testkit::conformance!(app::App, sessions, salted);

/// The first client token that a laboratory gives, which the transcripts carry.
const KIOSK: &str = "8005f02d43fa06e7d0585fb64c961d57";

#[tokio::test]
async fn golden_login() {
    let lab = stele_testkit::Lab::new().await;
    assert_eq!(lab.client_token("kiosk").await, KIOSK);
    lab.user("mark").add().await;
    lab.user("admin").password("hna123").admin().add().await;
    stele_testkit::golden(&lab.start(svc_tms::SERVICE).await, "tests/golden/login.http").await;
}

#[tokio::test]
async fn golden_pwdreset() {
    let lab = stele_testkit::Lab::new().await;
    assert_eq!(lab.client_token("kiosk").await, KIOSK);
    lab.user("mark").add().await;
    stele_testkit::golden(&lab.start(svc_tms::SERVICE).await, "tests/golden/pwdreset.http").await;
}
