//! Handing a user over from one app to another by a one-time token (MeFP document, 获取Token).

use super::Caller;
use super::authenticate::live;
use super::watch::Watch;
use crate::app::App;
use crate::event::Act;
use crate::identifier::Phone;
use crate::session::{Ticket, TicketKind, Token, TokenKey};
use crate::user::{User, UserRef};
use crate::{Deps, Error, Result, UseCases};

impl UseCases {
    /// A token by which `to` may learn, once, that the user of `phone` is present at `from`.
    ///
    /// # Errors
    /// `TicketRefused` unless both apps are registered, `from` may hand over to `to`, and the user has logged in or
    /// registered through `from` within the session's lifetime; faults of ours.
    pub async fn issue_ticket(&self, caller: &Caller, from: &App, to: &str, phone: &Phone) -> Result<Token> {
        let mut watch = Watch::over(&self.deps, Act::IssueTicket, caller);
        let outcome = hand_over(&self.deps, caller, from, to, phone, &mut watch).await;
        watch.end(outcome)
    }
}

async fn hand_over(
    deps: &Deps,
    caller: &Caller,
    from: &App,
    to: &str,
    phone: &Phone,
    watch: &mut Watch<'_>,
) -> Result<Token> {
    let allowed = from.may_token.iter().any(|name| name == to);
    let target = deps.users.app(App::lookup_name(to)).await?.filter(|_| allowed).ok_or(Error::TicketRefused)?;
    let account = deps.users.find(phone.key()).await?.ok_or(Error::TicketRefused)?;
    watch.concerns(account.user.id);
    let presence = TokenKey::presence(caller.dialect, &from.name, account.user.id);
    live(deps, caller.dialect, &presence).await?.ok_or(Error::TicketRefused)?;
    let token = Token::generate(deps.random.as_ref());
    let ticket = Ticket {
        kind: TicketKind::Handover,
        user: account.user.id,
        epoch: account.epoch,
        source: from.name.clone(),
        audience: target.name,
        expires: deps.now().after(deps.policy.ticket_ttl),
    };
    deps.state.put_ticket(&token.key(), &ticket).await?;
    Ok(token)
}

impl UseCases {
    /// Redeems a token as `app`, which is also the caller: gives its user and the app that issued it. Another app's try does not use it up.
    ///
    /// # Errors
    /// `TicketRefused` if it is unknown, expired, used, for another app, or its user changed the password or was locked
    /// out; faults of ours.
    pub async fn redeem_ticket(&self, caller: &Caller, app: &App, token: &Token) -> Result<(User, String)> {
        let mut watch = Watch::over(&self.deps, Act::RedeemTicket, caller);
        let outcome = take_over(&self.deps, app, token, &mut watch).await;
        watch.end(outcome)
    }
}

async fn take_over(deps: &Deps, app: &App, token: &Token, watch: &mut Watch<'_>) -> Result<(User, String)> {
    let ticket = deps.state.redeem_ticket(&token.key(), TicketKind::Handover, &app.name, deps.now()).await?;
    let ticket = ticket.ok_or(Error::TicketRefused)?;
    watch.concerns(ticket.user);
    let account = deps.users.find_ref(UserRef::Id(ticket.user)).await?;
    let account = account.filter(|a| a.epoch == ticket.epoch && !a.user.disabled).ok_or(Error::TicketRefused)?;
    Ok((account.user, ticket.source))
}
