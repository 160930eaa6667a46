//! Session authentication: finds the live session and the user of a session token.

use crate::session::{DialectName, Session, Token, TokenKey, touch_interval};
use crate::user::{Account, UserRef};
use crate::{Dependencies, Error, Result, UseCases};

impl UseCases {
    /// Finds the session of `token` in `dialect`, and its user with the credential. Using a session extends its
    /// lifetime.
    ///
    /// # Errors
    /// `NotAuthenticated` if the session is unknown, expired, of another dialect, of an older credential or of a
    /// disabled user; `Unavailable`, `Internal` (if a store does not answer, no session is valid).
    pub async fn authenticate(&self, dialect: DialectName, token: &Token) -> Result<(Session, Account)> {
        authenticate(&self.deps, dialect, token).await
    }
}

pub(super) async fn authenticate(
    deps: &Dependencies,
    dialect: DialectName,
    token: &Token,
) -> Result<(Session, Account)> {
    find_live_session(deps, dialect, &token.key()).await?.ok_or(Error::NotAuthenticated)
}

/// The session under `key` and its user; `None` if the session is unknown, expired, of another dialect or epoch, or of
/// a disabled user. Extends the session's lifetime.
pub(super) async fn find_live_session(
    deps: &Dependencies,
    dialect: DialectName,
    key: &TokenKey,
) -> Result<Option<(Session, Account)>> {
    find_live_session_where(deps, key, |session| session.dialect == dialect).await
}

/// As [`find_live_session`], of a session that `is_accepted`.
pub(super) async fn find_live_session_where(
    deps: &Dependencies,
    key: &TokenKey,
    is_accepted: impl Fn(&Session) -> bool + Send,
) -> Result<Option<(Session, Account)>> {
    let session = deps.state.find_session(key, deps.now()).await?;
    let Some(mut session) = session.filter(is_accepted) else { return Ok(None) };
    let Some(account) = find_account_of_session(deps, &session).await? else { return Ok(None) };
    extend_session(deps, key, &mut session).await?;
    Ok(Some((session, account)))
}

/// Extends the lifetime of the session with the key `key`, unless it was extended within [`touch_interval`].
pub(super) async fn extend_session(deps: &Dependencies, key: &TokenKey, session: &mut Session) -> Result<()> {
    let now = deps.now();
    if now.saturating_duration_since(session.last_seen) >= touch_interval(deps.policy.session_ttl) {
        session.last_seen = now;
        session.expires = now.saturating_add(deps.policy.session_ttl);
        deps.state.touch_session(key, session).await?;
    }
    Ok(())
}

/// The account of a live session's user; `None` if the session is of another epoch or of a disabled user, and so not
/// valid.
pub(super) async fn find_account_of_session(deps: &Dependencies, session: &Session) -> Result<Option<Account>> {
    let account = deps.users.find_by_ref(UserRef::Id(session.user)).await?;
    Ok(account.filter(|account| session.is_valid_for(account)))
}
