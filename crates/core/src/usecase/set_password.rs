//! Setting a new password with a reset token or a recent login (JWT document, 更新密码).

use super::watch::Watch;
use super::{Caller, authenticate::authenticate, credential};
use crate::event::Act;
use crate::identifier::Identifier;
use crate::password::NewPassword;
use crate::session::{TicketKind, Token};
use crate::user::Account;
use crate::{Deps, Error, Result, UseCases};

/// What allows it.
#[derive(Debug)]
pub enum Authority {
    /// A one-use reset token, from [`super::grant_reset`].
    Reset(Token),
    /// A login of the same account, at most [`crate::policy::Policy::recent_login`] old.
    Login(Token),
}

impl UseCases {
    /// Sets the password of `account` and ends every other session, ticket and code of the user. A try for another
    /// account than the token's does not use the token up.
    ///
    /// # Errors
    /// `NotAuthenticated` whatever is wrong with account or token; `Busy` and faults of ours.
    pub async fn set_password(
        &self,
        caller: &Caller,
        account: &str,
        password: &NewPassword,
        authority: &Authority,
    ) -> Result<()> {
        let mut watch = Watch::over(&self.deps, Act::SetPassword, caller);
        let outcome = set(&self.deps, caller, account, password, authority, &mut watch).await;
        watch.end(outcome)
    }
}

async fn set(
    deps: &Deps,
    caller: &Caller,
    account: &str,
    password: &NewPassword,
    authority: &Authority,
    watch: &mut Watch<'_>,
) -> Result<()> {
    let parsed = Identifier::parse(account);
    let found = deps.users.find(parsed.as_ref().map_or("", Identifier::key)).await?;
    if let Some(found) = &found {
        watch.concerns(found.user.id);
    }
    allow(deps, caller, found.as_ref(), authority).await?;
    let account = found.ok_or(Error::NotAuthenticated)?;
    let new = credential::make(deps, account.user.id, password.as_digest()).await?;
    let epoch = deps.random.epoch();
    if !deps.users.change_credential(account.user.id, account.epoch, epoch, &new).await? {
        return Err(Error::NotAuthenticated);
    }
    if let Authority::Login(token) = authority {
        deps.state.restamp_session(&token.key(), epoch).await?;
    }
    Ok(())
}

/// An account that does not exist costs what one does that the token is not for.
async fn allow(deps: &Deps, caller: &Caller, account: Option<&Account>, authority: &Authority) -> Result<()> {
    let now = deps.now();
    let allowed = match authority {
        Authority::Reset(token) => {
            let audience = account.map_or_else(|| "nobody".to_owned(), |account| account.user.id.to_string());
            let ticket = deps.state.redeem_ticket(&token.key(), TicketKind::Reset, &audience, now).await?;
            let theirs = |account: &Account| ticket.is_some_and(|ticket| ticket.epoch == account.epoch);
            account.is_some_and(|account| theirs(account) && !account.user.disabled)
        }
        Authority::Login(token) => {
            let (session, owner) = authenticate(deps, caller.dialect, token).await?;
            let recent = now.since(session.created) <= deps.policy.recent_login;
            account.is_some_and(|account| account.user.id == owner.user.id) && recent
        }
    };
    if allowed { Ok(()) } else { Err(Error::NotAuthenticated) }
}
