//! Logging out.

use super::authenticate::authenticate;
use super::watch::Watch;
use crate::event::Act;
use crate::session::{Dialect, Token};
use crate::{Deps, Error, Result, UseCases};

impl UseCases {
    /// Ends the session of `token`.
    ///
    /// # Errors
    /// `NotAuthenticated` if there is none that lives; faults of ours.
    pub async fn logout(&self, dialect: Dialect, token: &Token) -> Result<()> {
        let mut watch = Watch::unlimited(&self.deps, Act::Logout, dialect);
        let outcome = end(&self.deps, dialect, token, &mut watch).await;
        watch.end(outcome)
    }
}

async fn end(deps: &Deps, dialect: Dialect, token: &Token, watch: &mut Watch<'_>) -> Result<()> {
    let (session, _) = authenticate(deps, dialect, token).await?;
    watch.concerns(session.user);
    if deps.state.end_session(&token.key(), session.user).await? { Ok(()) } else { Err(Error::NotAuthenticated) }
}
