//! A service under test, whether or not users log in through it.

use std::ops::Deref;

use stele_app::Service;

use super::DialectUnderTest;
use crate::TestApp;

/// A running service. A service that is no login dialect implements this trait alone.
#[expect(async_fn_in_trait, reason = "called by tests alone, each on one thread")]
pub trait ServiceUnderTest: Deref<Target = TestApp> + Sized {
    /// The service.
    const SERVICE: Service;
    /// The path of a call by POST: of a dialect, the login.
    const CALL_PATH: &'static str;
    /// Paths, below the service's prefix or elsewhere, that it does not serve.
    const UNKNOWN_PATHS: &'static [&'static str];

    /// Starts the service on a new user base, with these settings besides those that it needs.
    async fn start_with(settings: &[(&str, &str)]) -> Self;
}

impl<D: DialectUnderTest> ServiceUnderTest for D {
    const SERVICE: Service = D::SERVICE;
    const CALL_PATH: &'static str = D::LOGIN_PATH;
    const UNKNOWN_PATHS: &'static [&'static str] = D::UNKNOWN_PATHS;

    async fn start_with(settings: &[(&str, &str)]) -> Self {
        D::with_settings(settings).await
    }
}
