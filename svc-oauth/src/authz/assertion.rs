//! The signed assertion about a user (`X-Stele-Assertion`), by which an application behind a proxy can verify that the
//! identity headers come from Stele.

use serde::Serialize;
use stele_core::Result;
use stele_core::oauth::{RequestHost, SigningAlgorithm};
use stele_core::time::Timestamp;
use stele_core::usecase::check_access::AccessGrant;

use crate::ServiceState;

/// The type in the header (RFC 8725 3.11): no access, login or ID token passes for an assertion, nor the reverse.
const ASSERTION_TYPE: &str = "stele-assertion+jwt";
/// How long an assertion is valid, in seconds: the time from the proxy to the application, and what clocks differ.
const LIFETIME_SECONDS: i64 = 60;

/// The claims of an assertion.
#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: String,
    /// The host that the request is for, so that an application cannot pass it on to another.
    aud: &'a str,
    iat: i64,
    exp: i64,
    /// Identifies the session, as in access tokens.
    sid: String,
    acr: &'a str,
    username: &'a str,
    role: &'a str,
    dialect: &'a str,
}

impl ServiceState {
    /// Signs the assertion that this user sent a request for `host`, in EdDSA: the fastest to sign, for every request
    /// of a page.
    ///
    /// # Errors
    /// [`stele_core::Error::Internal`] if there is no signing key or signing fails.
    pub(crate) fn sign_assertion(&self, grant: &AccessGrant, host: &RequestHost, now: Timestamp) -> Result<String> {
        let claims = Claims {
            iss: self.issuer.as_str(),
            sub: grant.user.id.to_string(),
            aud: host.as_str(),
            iat: now.as_secs(),
            exp: now.as_secs() + LIFETIME_SECONDS,
            sid: grant.session.to_string(),
            acr: grant.acr.uri(),
            username: grant.user.display_name(),
            role: grant.user.role.as_str(),
            dialect: grant.kind.dialect(),
        };
        self.signer.sign(SigningAlgorithm::EdDsa, ASSERTION_TYPE, &claims, now)
    }
}
