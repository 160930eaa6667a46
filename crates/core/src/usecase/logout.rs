//! Logging out.

use super::authenticate::authenticate;
use crate::session::{Dialect, Token};
use crate::{Deps, Error, Result};

/// Ends the session of `token`.
///
/// # Errors
/// `NotAuthenticated` if there is none that lives; faults of ours.
pub async fn logout(deps: &Deps, dialect: Dialect, token: &Token) -> Result<()> {
    authenticate(deps, dialect, token).await?;
    if deps.state.end_session(&token.key()).await? { Ok(()) } else { Err(Error::NotAuthenticated) }
}
