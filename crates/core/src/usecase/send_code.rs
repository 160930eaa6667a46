//! Sending a code (portal document, /code/send; MeFP document, 获取手机验证码), with its quotas against SMS pumping.

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
    /// Recipients without an account; others fail with [`Error::IdentifierTaken`].
    Unregistered,
    /// Recipients with an account; others fail with [`Error::UnknownUser`].
    Registered,
}

impl UseCases {
    /// Sends a code for `purpose` to `to`. It replaces an earlier one.
    ///
    /// # Errors
    /// `Invalid("phone")` for a phone in a country that is not served; `IdentifierTaken` or `UnknownUser` by `filter`.
    /// Neither is counted. `RateLimited`; `Unavailable`, `Internal`.
    pub async fn send_code(
        &self,
        caller: &RequestInfo,
        to: &Recipient,
        purpose: CodePurpose,
        filter: RecipientFilter,
    ) -> Result<()> {
        let mut audit = AuditScope::start(&self.deps, Action::SendCode(purpose), caller);
        let outcome = check_and_send(&self.deps, caller, to, purpose, filter, &mut audit).await;
        audit.finish(outcome)
    }
}

async fn check_and_send(
    deps: &Dependencies,
    caller: &RequestInfo,
    to: &Recipient,
    purpose: CodePurpose,
    filter: RecipientFilter,
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
    match (filter, &account) {
        (RecipientFilter::Unregistered, Some(_)) => return Err(Error::IdentifierTaken),
        (RecipientFilter::Registered, None) => return Err(Error::UnknownUser),
        _ => {}
    }
    let key = CodeKey::new(caller.dialect, purpose, to.key());
    let (code, new) = generate_code(deps, caller, key, account.map_or(0, |a| a.epoch));
    consume_send_quota(deps, caller, RecipientQuota::Shared, to, &new).await?;
    dispatch_code(deps, caller, to, purpose, code)
}

/// Whether messages are sent to the recipient's country.
pub(super) fn is_in_served_country(deps: &Dependencies, to: &Recipient) -> bool {
    match to {
        Recipient::Phone(phone) => deps.policy.sms_countries.contains(phone),
        Recipient::Email(_) => true,
    }
}

/// One use by an origin and by each of its enclosing networks.
pub(super) fn origin_quota_uses(kind: &str, origin: &Origin, quota: Quota) -> Vec<QuotaUse> {
    let enclosing = origin
        .enclosing_networks()
        .map(|(network, factor)| QuotaUse { key: format!("{kind}:{network}"), quota: quota.scaled_by(factor) });
    std::iter::once(QuotaUse { key: format!("{kind}:{origin}"), quota }).chain(enclosing).collect()
}

/// A new code under `key`: the code itself, and what is stored of it.
pub(super) fn generate_code(deps: &Dependencies, caller: &RequestInfo, key: CodeKey, epoch: i64) -> (Code, NewCode) {
    let code = Code::generate(deps.random.as_ref());
    let tag = code.tag(&deps.mac, &key, &caller.app);
    let expires = deps.now().saturating_add(deps.policy.code_ttl);
    (code, NewCode { key, tag, epoch, expires })
}

/// Which quota of the recipient a send counts against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RecipientQuota {
    /// The quota that all dialects share: each use is a message that was sent.
    Shared,
    /// A quota of the calling dialect, which also counts requests that send nothing. In the shared quota, such requests
    /// would block the recipient in the other dialects; and if they were not counted, the quota would show which
    /// requests send a message (user enumeration).
    PerDialect,
}

/// Counts a send by recipient, by origin and in total, and stores its code; or rejects it.
pub(super) async fn consume_send_quota(
    deps: &Dependencies,
    caller: &RequestInfo,
    quota: RecipientQuota,
    to: &Recipient,
    code: &NewCode,
) -> Result<()> {
    let quotas = &deps.policy.send_quotas;
    let origin_quota = match caller.origin {
        Origin::Address(_) => quotas.address,
        Origin::App(_) => quotas.app,
    };
    let (recipient_key, total_key) = match quota {
        RecipientQuota::Shared => (format!("to:{}", to.key()), "total".to_owned()),
        RecipientQuota::PerDialect => {
            (format!("to@{}:{}", caller.dialect, to.key()), format!("total@{}", caller.dialect))
        }
    };
    let mut uses = vec![QuotaUse { key: recipient_key, quota: quotas.recipient }];
    uses.extend(origin_quota_uses("from", &caller.origin, origin_quota));
    // The total quota comes last, so that `exceeded.index` shows whether it is the cause. A dialect's own total also
    // counts requests that send nothing; otherwise it would show which resets are sent. It is separate, so that such
    // requests cannot exhaust the total of the other dialects.
    let total_quota = quotas.total.map(|quota| (uses.len(), quota));
    uses.extend(quotas.total.map(|quota| QuotaUse { key: total_key, quota }));
    let Some(exceeded) = deps.state.consume_quotas(&uses, Some(code), deps.now()).await? else { return Ok(()) };
    if let Some((_, quota)) = total_quota.filter(|(index, _)| *index == exceeded.index) {
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
