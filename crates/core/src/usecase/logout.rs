//! Logout: ends the session of a token.

use super::audit_scope::AuditScope;
use super::authenticate::authenticate;
use crate::event::Action;
use crate::session::{DialectName, Token};
use crate::{Dependencies, Error, Result, UseCases};

impl UseCases {
    /// Ends the session of `token`.
    ///
    /// # Errors
    /// `NotAuthenticated` if the token has no valid session; `Unavailable`, `Internal`.
    pub async fn logout(&self, dialect: DialectName, token: &Token) -> Result<()> {
        let mut audit = AuditScope::start_without_rate_limit(&self.deps, Action::Logout, dialect);
        let outcome = end_session(&self.deps, dialect, token, &mut audit).await;
        audit.finish(outcome)
    }
}

async fn end_session(
    deps: &Dependencies,
    dialect: DialectName,
    token: &Token,
    audit: &mut AuditScope<'_>,
) -> Result<()> {
    let (session, _) = authenticate(deps, dialect, token).await?;
    audit.set_subject(session.user);
    if deps.state.end_session(&token.key(), session.user).await? { Ok(()) } else { Err(Error::NotAuthenticated) }
}
