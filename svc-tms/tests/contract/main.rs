//! The TMS service alone, over HTTP.

#![expect(clippy::unwrap_used, reason = "a test's set-up may panic")]

mod bad_input;
mod documented;
mod faults;
mod limits;
mod proofs;
mod sessions;
mod support;
mod tokens;

#[tokio::test]
async fn golden_login() {
    let lab = stele_testkit::Lab::new().await;
    lab.user("mark").add().await;
    lab.user("admin").password("hna123").admin().add().await;
    lab.client_token("kiosk").await;
    stele_testkit::golden(&lab.start(svc_tms::SERVICE).await, "tests/golden/login.http").await;
}

#[tokio::test]
async fn golden_pwdreset() {
    let lab = stele_testkit::Lab::new().await;
    lab.user("mark").add().await;
    lab.client_token("kiosk").await;
    stele_testkit::golden(&lab.start(svc_tms::SERVICE).await, "tests/golden/pwdreset.http").await;
}
