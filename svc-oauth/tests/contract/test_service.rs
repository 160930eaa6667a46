//! The service under test.

use stele_testkit::{TestApp, TestLab};
use svc_oauth::SERVICE;

/// Starts the service on a new user base with these settings.
pub(crate) async fn start(settings: &[(&str, &str)]) -> TestApp {
    TestApp::start(TestLab::with_settings(settings).await, SERVICE).await
}
