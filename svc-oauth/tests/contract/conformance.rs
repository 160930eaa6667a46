//! The service for the conformance suite, without clients and users.

use std::ops::Deref;

use stele_app::Service;
use stele_testkit::TestApp;
use stele_testkit::conformance::ServiceUnderTest;
use svc_oauth::SERVICE;

use crate::test_service;

/// The service on an empty user base.
pub(crate) struct BareService(TestApp);

impl Deref for BareService {
    type Target = TestApp;

    fn deref(&self) -> &TestApp {
        &self.0
    }
}

impl ServiceUnderTest for BareService {
    const SERVICE: Service = SERVICE;
    const CALL_PATH: &'static str = test_service::TOKEN;
    const UNKNOWN_PATHS: &'static [&'static str] = &[
        "/.well-known/",
        "/.well-known/openid-configuration/x",
        "/.well-known/OpenID-Configuration",
        "/oauth2/",
        "/oauth2/nothing",
        "/oauth2/JWKS",
        "/oauth2/jwks/1",
    ];

    async fn start_with(settings: &[(&str, &str)]) -> Self {
        Self(test_service::start(settings).await)
    }
}
