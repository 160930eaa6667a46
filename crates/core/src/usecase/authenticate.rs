//! From a session token to its user.

use crate::session::{Dialect, Session, Token, TokenKey, touch_after};
use crate::user::{Account, UserRef};
use crate::{Deps, Error, Result, UseCases};

impl UseCases {
    /// The session of `token` in `dialect` and its user. Using a session prolongs it.
    ///
    /// # Errors
    /// `NotAuthenticated` if it is unknown, expired, of another dialect, of an older credential or of a disabled user;
    /// faults of ours: a store that cannot say is never taken for a live session.
    pub async fn authenticate(&self, dialect: Dialect, token: &Token) -> Result<(Session, Account)> {
        authenticate(&self.deps, dialect, token).await
    }
}

pub(super) async fn authenticate(deps: &Deps, dialect: Dialect, token: &Token) -> Result<(Session, Account)> {
    live(deps, dialect, &token.key()).await?.ok_or(Error::NotAuthenticated)
}

/// The session under `key`, if it is alive.
pub(super) async fn live(deps: &Deps, dialect: Dialect, key: &TokenKey) -> Result<Option<(Session, Account)>> {
    let now = deps.now();
    let Some(mut session) = deps.state.session(key, now).await?.filter(|s| s.dialect == dialect) else {
        return Ok(None);
    };
    let account = deps.users.find_ref(UserRef::Id(session.user)).await?;
    let Some(account) = account.filter(|a| a.epoch == session.epoch && !a.user.disabled) else { return Ok(None) };
    if now.since(session.last_seen) >= touch_after(deps.policy.session_ttl) {
        session.last_seen = now;
        session.expires = now.after(deps.policy.session_ttl);
        deps.state.touch_session(key, &session).await?;
    }
    Ok(Some((session, account)))
}
