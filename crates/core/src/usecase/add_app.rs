//! Registering an app (MeFP) with a secret (administrator).

use zeroize::Zeroizing;

use super::audit_scope::AuditScope;
use crate::app::App;
use crate::event::Action;
use crate::{Dependencies, Error, Result, UseCases};

/// The length of an app's secret in bytes. The MeFP dialect uses the secret as the initialization vector of AES-CBC.
pub const SECRET_LENGTH: usize = 16;

impl UseCases {
    /// Registers an app that may hand its users over to the apps `may_token`, with `secret` (16 printable ASCII
    /// characters without space) or a random secret. Returns the secret.
    ///
    /// # Errors
    /// `Invalid` for the name, the secret or `may_token`; `IdentifierTaken` if an app has the name; `Unavailable`,
    /// `Internal`.
    pub async fn add_app(
        &self,
        name: &str,
        secret: Option<Zeroizing<String>>,
        may_token: Vec<String>,
    ) -> Result<Zeroizing<String>> {
        let mut audit = AuditScope::start_for_administrator(&self.deps, Action::AddApp);
        let outcome = register_app(&self.deps, name, secret, may_token, &mut audit).await;
        audit.finish(outcome)
    }
}

async fn register_app(
    deps: &Dependencies,
    name: &str,
    secret: Option<Zeroizing<String>>,
    may_token: Vec<String>,
    audit: &mut AuditScope<'_>,
) -> Result<Zeroizing<String>> {
    if !App::is_valid_name(name) {
        return Err(Error::Invalid("name"));
    }
    if !may_token.iter().all(|other| App::is_valid_name(other)) {
        return Err(Error::Invalid("may-token"));
    }
    let secret = secret.unwrap_or_else(|| Zeroizing::new(deps.random.hex128()[..SECRET_LENGTH].to_owned()));
    if secret.len() != SECRET_LENGTH || !secret.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(Error::Invalid("secret"));
    }
    let sealed = deps.seal(&App::seal_context(name), secret.as_bytes());
    let app = App { name: name.to_owned(), secret: sealed, may_token, created_at: deps.now() };
    audit.set_subject(&app);
    if deps.users.add_app(&app).await? { Ok(secret) } else { Err(Error::IdentifierTaken) }
}
