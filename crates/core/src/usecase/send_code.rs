//! Sending a code (portal document, /code/send; MeFP document, 获取手机验证码).

use super::Caller;
use super::watch::Watch;
use crate::code::{Code, CodeKey, Purpose};
use crate::event::Act;
use crate::identifier::Recipient;
use crate::origin::Origin;
use crate::ports::{Message, NewCode, Use};
use crate::rate_limit::Quota;
use crate::{Deps, Error, Result, UseCases};

/// Whom a code may be sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sendable {
    /// Anyone.
    Anyone,
    /// People without an account: others are [`Error::IdentifierTaken`].
    Strangers,
    /// People with an account: others are [`Error::UnknownUser`].
    Users,
}

impl UseCases {
    /// Sends a code for `purpose` to `to`, replacing an earlier one.
    ///
    /// # Errors
    /// `Invalid("phone")` for a phone in a country that is not served, `IdentifierTaken` or `UnknownUser` as `sendable` has it
    /// (such refusals are not counted), `TooMany`; faults of ours.
    pub async fn send_code(&self, caller: &Caller, to: &Recipient, purpose: Purpose, sendable: Sendable) -> Result<()> {
        let mut watch = Watch::over(&self.deps, Act::SendCode(purpose), caller);
        let outcome = send(&self.deps, caller, to, purpose, sendable, &mut watch).await;
        watch.end(outcome)
    }
}

async fn send(
    deps: &Deps,
    caller: &Caller,
    to: &Recipient,
    purpose: Purpose,
    sendable: Sendable,
    watch: &mut Watch<'_>,
) -> Result<()> {
    if !is_served(deps, to) {
        return Err(Error::Invalid("phone"));
    }
    deps.delivery.check(to)?;
    let account = deps.users.find(to.key()).await?;
    if let Some(account) = &account {
        watch.concerns(account.user.id);
    }
    match (sendable, &account) {
        (Sendable::Strangers, Some(_)) => return Err(Error::IdentifierTaken),
        (Sendable::Users, None) => return Err(Error::UnknownUser),
        _ => {}
    }
    let key = CodeKey::new(caller.dialect, purpose, to.key());
    let (code, new) = new_code(deps, caller, key, account.map_or(0, |a| a.epoch));
    count(deps, caller, RecipientQuota::Shared, to, &new).await?;
    dispatch(deps, caller, to, purpose, code)
}

/// Whether messages are sent to where `to` is.
pub(super) fn is_served(deps: &Deps, to: &Recipient) -> bool {
    match to {
        Recipient::Phone(phone) => deps.policy.sms_countries.include(phone),
        Recipient::Email(_) => true,
    }
}

/// Uses by an origin, and by the networks around it.
pub(super) fn uses_of_origin(kind: &str, origin: &Origin, quota: Quota) -> Vec<Use> {
    let around =
        origin.around().map(|(network, times)| Use { key: format!("{kind}:{network}"), quota: quota.times(times) });
    std::iter::once(Use { key: format!("{kind}:{origin}"), quota }).chain(around).collect()
}

/// A new code under `key`, in the clear and as it is kept.
pub(super) fn new_code(deps: &Deps, caller: &Caller, key: CodeKey, epoch: i64) -> (Code, NewCode) {
    let code = Code::generate(deps.random.as_ref());
    let tag = code.tag(&deps.mac, &key, &caller.app);
    let expires = deps.now().after(deps.policy.code_ttl);
    (code, NewCode { key, tag, epoch, expires })
}

/// Which quota of the recipient a send counts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RecipientQuota {
    /// The one that every dialect shares: each count is a message that was sent.
    Shared,
    /// The calling dialect's own, which also counts requests that send nothing. If those counted in the shared quota,
    /// they would lock the recipient out of the other dialects without a message; if only those that send did, the
    /// shared quota would show which they are.
    OfDialect,
}

/// Counts a send by recipient, by origin and in all, and keeps its code, or refuses both.
pub(super) async fn count(
    deps: &Deps,
    caller: &Caller,
    quota: RecipientQuota,
    to: &Recipient,
    code: &NewCode,
) -> Result<()> {
    let sending = &deps.policy.sending;
    let from = match caller.origin {
        Origin::Address(_) => sending.address,
        Origin::App(_) => sending.app,
    };
    let (recipient, total) = match quota {
        RecipientQuota::Shared => (format!("to:{}", to.key()), "total".to_owned()),
        RecipientQuota::OfDialect => {
            (format!("to@{}:{}", caller.dialect, to.key()), format!("total@{}", caller.dialect))
        }
    };
    let mut uses = vec![Use { key: recipient, quota: sending.recipient }];
    uses.extend(uses_of_origin("from", &caller.origin, from));
    // Last, so that a refusal shows whether the ceiling is the cause. The dialect's own counts what is asked for, sent or
    // not: otherwise what is left would show which resets are sent. It is apart, so that requests that send nothing
    // cannot use up what the other dialects may send.
    let ceiling = sending.total.map(|quota| (uses.len(), quota));
    uses.extend(sending.total.map(|quota| Use { key: total, quota }));
    let Some(exceeded) = deps.state.send_code(&uses, Some(code), deps.now()).await? else { return Ok(()) };
    if let Some((_, quota)) = ceiling.filter(|(index, _)| *index == exceeded.index) {
        deps.events.send_total_reached(deps.now(), caller.dialect, quota.max);
    }
    Err(Error::TooMany { retry_after: exceeded.retry_after })
}

pub(super) fn dispatch(deps: &Deps, caller: &Caller, to: &Recipient, purpose: Purpose, code: Code) -> Result<()> {
    deps.delivery.dispatch(Message { at: deps.now(), to: to.clone(), purpose, dialect: caller.dialect, code })
}
