//! Handover of a user from one app to another by a one-time ticket (MeFP document, 获取Token).

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
    /// Issues a one-time ticket, by which the app `to` can verify that the user of `phone` is logged in at the app
    /// `from`.
    ///
    /// # Errors
    /// `TicketRefused` unless both apps are registered, `from` may hand over to `to`, and the user has logged in or
    /// registered through `from` and that session is still valid; `Unavailable`, `Internal`.
    pub async fn issue_ticket(&self, caller: &RequestInfo, from: &App, to: &str, phone: &Phone) -> Result<Token> {
        let mut audit = AuditScope::start(&self.deps, Action::IssueTicket, caller);
        let outcome = issue_handover_ticket(&self.deps, caller, from, to, phone, &mut audit).await;
        audit.finish(outcome)
    }
}

async fn issue_handover_ticket(
    deps: &Dependencies,
    caller: &RequestInfo,
    from: &App,
    to: &str,
    phone: &Phone,
    audit: &mut AuditScope<'_>,
) -> Result<Token> {
    let is_allowed = from.may_token.iter().any(|name| name == to);
    let target_app =
        deps.users.find_app(App::lookup_name(to)).await?.filter(|_| is_allowed).ok_or(Error::TicketRefused)?;
    let account = deps.users.find_by_identifier(phone.key()).await?.ok_or(Error::TicketRefused)?;
    audit.set_subject(account.user.id);
    let session_key = TokenKey::app_bound(caller.dialect, &from.name, account.user.id);
    find_live_session(deps, caller.dialect, &session_key).await?.ok_or(Error::TicketRefused)?;
    let token = Token::generate(deps.random.as_ref());
    let ticket = Ticket {
        kind: TicketKind::Handover,
        user: account.user.id,
        epoch: account.epoch,
        source: from.name.clone(),
        audience: target_app.name,
        expires: deps.now().saturating_add(deps.policy.ticket_ttl),
    };
    deps.state.store_ticket(&token.key(), &ticket).await?;
    Ok(token)
}

impl UseCases {
    /// Redeems a ticket as `app`, which is also the caller. Returns the ticket's user and the name of the app that
    /// issued the ticket. An attempt by an app other than the ticket's audience does not consume the ticket.
    ///
    /// # Errors
    /// `TicketRefused` if the ticket is unknown, expired, used, or for another app, or if the user's password was
    /// changed or the user disabled since it was issued; `Unavailable`, `Internal`.
    pub async fn redeem_ticket(&self, caller: &RequestInfo, app: &App, token: &Token) -> Result<(User, String)> {
        let mut audit = AuditScope::start(&self.deps, Action::RedeemTicket, caller);
        let outcome = redeem_handover_ticket(&self.deps, app, token, &mut audit).await;
        audit.finish(outcome)
    }
}

async fn redeem_handover_ticket(
    deps: &Dependencies,
    app: &App,
    token: &Token,
    audit: &mut AuditScope<'_>,
) -> Result<(User, String)> {
    let ticket = deps.state.redeem_ticket(&token.key(), TicketKind::Handover, &app.name, deps.now()).await?;
    let ticket = ticket.ok_or(Error::TicketRefused)?;
    audit.set_subject(ticket.user);
    let account = deps.users.find_by_ref(UserRef::Id(ticket.user)).await?;
    let account = account.filter(|a| a.epoch == ticket.epoch && !a.user.disabled).ok_or(Error::TicketRefused)?;
    Ok((account.user, ticket.source))
}
