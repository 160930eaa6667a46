//! Sending a code (portal document, /code/send; MeFP document, 获取手机验证码).

use super::RequestInfo;
use super::audit_scope::AuditScope;
use crate::code::{Code, CodeKey, CodePurpose};
use crate::event::Action;
use crate::identifier::Recipient;
use crate::origin::Origin;
use crate::ports::{CodeMessage, NewCode, QuotaUse};
use crate::rate_limit::Quota;
use crate::{Dependencies, Error, Result, UseCases};

/// Whom a code may be sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecipientFilter {
    /// Anyone.
    Anyone,
    /// People without an account: others are [`Error::IdentifierTaken`].
    Unregistered,
    /// People with an account: others are [`Error::UnknownUser`].
    Registered,
}

impl UseCases {
    /// Sends a code for `purpose` to `to`, replacing an earlier one.
    ///
    /// # Errors
    /// `Invalid("phone")` for a phone in a country that is not served, `IdentifierTaken` or `UnknownUser` as `sendable` has it
    /// (such refusals are not counted), `TooMany`; faults of ours.
    pub async fn send_code(
        &self,
        caller: &RequestInfo,
        to: &Recipient,
        purpose: CodePurpose,
        sendable: RecipientFilter,
    ) -> Result<()> {
        let mut audit = AuditScope::start(&self.deps, Action::SendCode(purpose), caller);
        let outcome = check_and_send(&self.deps, caller, to, purpose, sendable, &mut audit).await;
        audit.finish(outcome)
    }
}

async fn check_and_send(
    deps: &Dependencies,
    caller: &RequestInfo,
    to: &Recipient,
    purpose: CodePurpose,
    sendable: RecipientFilter,
    audit: &mut AuditScope<'_>,
) -> Result<()> {
    if !is_in_served_country(deps, to) {
        return Err(Error::Invalid("phone"));
    }
    deps.delivery.check_available(to)?;
    let account = deps.users.find_by_identifier(to.key()).await?;
    if let Some(account) = &account {
        audit.set_subject(account.user.id);
    }
    match (sendable, &account) {
        (RecipientFilter::Unregistered, Some(_)) => return Err(Error::IdentifierTaken),
        (RecipientFilter::Registered, None) => return Err(Error::UnknownUser),
        _ => {}
    }
    let key = CodeKey::new(caller.dialect, purpose, to.key());
    let (code, new) = generate_code(deps, caller, key, account.map_or(0, |a| a.epoch));
    consume_send_quota(deps, caller, RecipientQuota::Shared, to, &new).await?;
    dispatch_code(deps, caller, to, purpose, code)
}

/// Whether messages are sent to where `to` is.
pub(super) fn is_in_served_country(deps: &Dependencies, to: &Recipient) -> bool {
    match to {
        Recipient::Phone(phone) => deps.policy.sms_countries.contains(phone),
        Recipient::Email(_) => true,
    }
}

/// Uses by an origin, and by the networks around it.
pub(super) fn origin_quota_uses(kind: &str, origin: &Origin, quota: Quota) -> Vec<QuotaUse> {
    let around = origin
        .enclosing_networks()
        .map(|(network, times)| QuotaUse { key: format!("{kind}:{network}"), quota: quota.scaled_by(times) });
    std::iter::once(QuotaUse { key: format!("{kind}:{origin}"), quota }).chain(around).collect()
}

/// A new code under `key`, in the clear and as it is kept.
pub(super) fn generate_code(deps: &Dependencies, caller: &RequestInfo, key: CodeKey, epoch: i64) -> (Code, NewCode) {
    let code = Code::generate(deps.random.as_ref());
    let tag = code.tag(&deps.mac, &key, &caller.app);
    let expires = deps.now().saturating_add(deps.policy.code_ttl);
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
    PerDialect,
}

/// Counts a send by recipient, by origin and in all, and keeps its code, or refuses both.
pub(super) async fn consume_send_quota(
    deps: &Dependencies,
    caller: &RequestInfo,
    quota: RecipientQuota,
    to: &Recipient,
    code: &NewCode,
) -> Result<()> {
    let sending = &deps.policy.send_quotas;
    let from = match caller.origin {
        Origin::Address(_) => sending.address,
        Origin::App(_) => sending.app,
    };
    let (recipient, total) = match quota {
        RecipientQuota::Shared => (format!("to:{}", to.key()), "total".to_owned()),
        RecipientQuota::PerDialect => {
            (format!("to@{}:{}", caller.dialect, to.key()), format!("total@{}", caller.dialect))
        }
    };
    let mut uses = vec![QuotaUse { key: recipient, quota: sending.recipient }];
    uses.extend(origin_quota_uses("from", &caller.origin, from));
    // Last, so that a refusal shows whether the ceiling is the cause. The dialect's own counts what is asked for, sent or
    // not: otherwise what is left would show which resets are sent. It is apart, so that requests that send nothing
    // cannot use up what the other dialects may send.
    let ceiling = sending.total.map(|quota| (uses.len(), quota));
    uses.extend(sending.total.map(|quota| QuotaUse { key: total, quota }));
    let Some(exceeded) = deps.state.consume_quotas(&uses, Some(code), deps.now()).await? else { return Ok(()) };
    if let Some((_, quota)) = ceiling.filter(|(index, _)| *index == exceeded.index) {
        deps.events.global_send_quota_reached(deps.now(), caller.dialect, quota.max);
    }
    Err(Error::RateLimited { retry_after: exceeded.retry_after })
}

pub(super) fn dispatch_code(
    deps: &Dependencies,
    caller: &RequestInfo,
    to: &Recipient,
    purpose: CodePurpose,
    code: Code,
) -> Result<()> {
    deps.delivery.dispatch(CodeMessage { at: deps.now(), to: to.clone(), purpose, dialect: caller.dialect, code })
}
