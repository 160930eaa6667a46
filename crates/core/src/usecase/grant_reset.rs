//! Exchanging a reset code for a one-time reset token (JWT document, 验证手机).

use super::RequestInfo;
use super::audit_scope::AuditScope;
use super::check_code;
use crate::code::{Code, CodeKey, CodePurpose};
use crate::event::Action;
use crate::identifier::Identifier;
use crate::ports::{LoginAttempt, OnCodeMatch};
use crate::session::{Ticket, TicketKind, Token};
use crate::{Dependencies, Error, Result, UseCases};

impl UseCases {
    /// Consumes `code`, which was sent by [`super::send_reset`], and returns a token that can set the password of
    /// `account` once.
    ///
    /// # Errors
    /// `WrongCode` (also for an unknown account), `RateLimited`; `Unavailable`, `Internal`.
    pub async fn grant_reset(&self, caller: &RequestInfo, account: &str, code: &Code) -> Result<Token> {
        let mut audit = AuditScope::start(&self.deps, Action::GrantReset, caller);
        let outcome = issue_reset_token(&self.deps, caller, account, code, &mut audit).await;
        audit.finish(outcome)
    }
}

async fn issue_reset_token(
    deps: &Dependencies,
    caller: &RequestInfo,
    account: &str,
    code: &Code,
    audit: &mut AuditScope<'_>,
) -> Result<Token> {
    let parsed = Identifier::parse(account);
    let key = parsed.as_ref().map_or(account, Identifier::key);
    let found = deps.users.find_by_identifier(parsed.as_ref().map_or("", Identifier::key)).await?;
    let user = found.as_ref().map(|account| account.user.id);
    audit.set_account(found.as_ref());
    let attempt = caller.login_attempt(deps, found.as_ref(), key);
    let keys = [CodeKey::new(caller.dialect, CodePurpose::Reset, &LoginAttempt::account_key(user, key))];
    check_code::verify_code(deps, caller, &attempt, &keys, code, OnCodeMatch::Consume).await?;
    let user = user.ok_or(Error::WrongCode)?;
    let token = Token::generate(deps.random.as_ref());
    let ticket = Ticket {
        kind: TicketKind::Reset,
        user,
        epoch: attempt.epoch,
        source: String::new(),
        audience: user.to_string(),
        expires: deps.now().saturating_add(deps.policy.reset_ttl),
    };
    deps.state.store_ticket(&token.key(), &ticket).await?;
    Ok(token)
}
