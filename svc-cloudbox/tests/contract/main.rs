//! The cloudbox service alone, over HTTP.

#![expect(clippy::unwrap_used, reason = "a test's set-up may panic")]

mod app;
mod documented;
mod faults;
mod limits;
mod sessions;
mod vectors;
mod work;

stele_testkit::conformance!(app::App, sessions, salted);

#[tokio::test]
async fn golden_login() {
    let lab = stele_testkit::Lab::new().await;
    lab.user("mark").add().await;
    stele_testkit::golden(&lab.start(svc_cloudbox::SERVICE).await, "tests/golden/login.http").await;
}

#[tokio::test]
async fn golden_pwdreset() {
    let lab = stele_testkit::Lab::new().await;
    lab.user("mark").add().await;
    stele_testkit::golden(&lab.start(svc_cloudbox::SERVICE).await, "tests/golden/pwdreset.http").await;
}
