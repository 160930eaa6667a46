//! Trading a reset code for a one-use reset token (JWT document, 验证手机).

use super::Caller;
use super::check_code;
use super::watch::Watch;
use crate::code::{Code, CodeKey, Purpose};
use crate::event::Act;
use crate::identifier::Identifier;
use crate::ports::{Attempt, CodeUse};
use crate::session::{Ticket, TicketKind, Token};
use crate::{Deps, Error, Result, UseCases};

impl UseCases {
    /// Uses `code` up and gives a token that sets the password of `account` once.
    ///
    /// # Errors
    /// `WrongCode` (also for an unknown account), `TooMany`; faults of ours.
    pub async fn grant_reset(&self, caller: &Caller, account: &str, code: &Code) -> Result<Token> {
        let mut watch = Watch::over(&self.deps, Act::GrantReset, caller);
        let outcome = grant(&self.deps, caller, account, code, &mut watch).await;
        watch.end(outcome)
    }
}

async fn grant(deps: &Deps, caller: &Caller, account: &str, code: &Code, watch: &mut Watch<'_>) -> Result<Token> {
    let parsed = Identifier::parse(account);
    let key = parsed.as_ref().map_or(account, Identifier::key);
    let found = deps.users.find(parsed.as_ref().map_or("", Identifier::key)).await?;
    let user = found.as_ref().map(|account| account.user.id);
    if let Some(user) = user {
        watch.concerns(user);
    }
    let attempt = caller.attempt(deps, found.as_ref(), key);
    let keys = [CodeKey::new(caller.dialect, Purpose::Reset, &Attempt::account_key(user, key))];
    check_code::guess(deps, caller, &attempt, &keys, code, CodeUse::Consume).await?;
    let user = user.ok_or(Error::WrongCode)?;
    let token = Token::generate(deps.random.as_ref());
    let ticket = Ticket {
        kind: TicketKind::Reset,
        user,
        epoch: attempt.epoch,
        source: String::new(),
        audience: user.to_string(),
        expires: deps.now().after(deps.policy.reset_ttl),
    };
    deps.state.put_ticket(&token.key(), &ticket).await?;
    Ok(token)
}
