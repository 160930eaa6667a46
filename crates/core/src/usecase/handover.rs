//! Handing a user over from one app to another by a one-time token (MeFP document, 获取Token).

use super::RequestInfo;
use super::audit_scope::AuditScope;
use super::authenticate::find_live_session;
use crate::app::App;
use crate::event::Action;
use crate::identifier::Phone;
use crate::session::{Ticket, TicketKind, Token, TokenKey};
use crate::user::{User, UserRef};
use crate::{Dependencies, Error, Result, UseCases};

impl UseCases {
    /// A token by which `to` may learn, once, that the user of `phone` is present at `from`.
    ///
    /// # Errors
    /// `TicketRefused` unless both apps are registered, `from` may hand over to `to`, and the user has logged in or
    /// registered through `from` within the session's lifetime; faults of ours.
    pub async fn issue_ticket(&self, caller: &RequestInfo, from: &App, to: &str, phone: &Phone) -> Result<Token> {
        let mut audit = AuditScope::start(&self.deps, Action::IssueTicket, caller);
        let outcome = issue(&self.deps, caller, from, to, phone, &mut audit).await;
        audit.finish(outcome)
    }
}

async fn issue(
    deps: &Dependencies,
    caller: &RequestInfo,
    from: &App,
    to: &str,
    phone: &Phone,
    audit: &mut AuditScope<'_>,
) -> Result<Token> {
    let allowed = from.may_token.iter().any(|name| name == to);
    let target = deps.users.find_app(App::lookup_name(to)).await?.filter(|_| allowed).ok_or(Error::TicketRefused)?;
    let account = deps.users.find_by_identifier(phone.key()).await?.ok_or(Error::TicketRefused)?;
    audit.set_subject(account.user.id);
    let presence = TokenKey::app_bound(caller.dialect, &from.name, account.user.id);
    find_live_session(deps, caller.dialect, &presence).await?.ok_or(Error::TicketRefused)?;
    let token = Token::generate(deps.random.as_ref());
    let ticket = Ticket {
        kind: TicketKind::Handover,
        user: account.user.id,
        epoch: account.epoch,
        source: from.name.clone(),
        audience: target.name,
        expires: deps.now().saturating_add(deps.policy.ticket_ttl),
    };
    deps.state.store_ticket(&token.key(), &ticket).await?;
    Ok(token)
}

impl UseCases {
    /// Redeems a token as `app`, which is also the caller: gives its user and the app that issued it. Another app's try does not use it up.
    ///
    /// # Errors
    /// `TicketRefused` if it is unknown, expired, used, for another app, or its user changed the password or was locked
    /// out; faults of ours.
    pub async fn redeem_ticket(&self, caller: &RequestInfo, app: &App, token: &Token) -> Result<(User, String)> {
        let mut audit = AuditScope::start(&self.deps, Action::RedeemTicket, caller);
        let outcome = redeem(&self.deps, app, token, &mut audit).await;
        audit.finish(outcome)
    }
}

async fn redeem(deps: &Dependencies, app: &App, token: &Token, audit: &mut AuditScope<'_>) -> Result<(User, String)> {
    let ticket = deps.state.redeem_ticket(&token.key(), TicketKind::Handover, &app.name, deps.now()).await?;
    let ticket = ticket.ok_or(Error::TicketRefused)?;
    audit.set_subject(ticket.user);
    let account = deps.users.find_by_ref(UserRef::Id(ticket.user)).await?;
    let account = account.filter(|a| a.epoch == ticket.epoch && !a.user.disabled).ok_or(Error::TicketRefused)?;
    Ok((account.user, ticket.source))
}
