//! Sending a verification code (portal document, /code/send; MeFP document, 获取手机验证码), with quotas against SMS
//! pumping; and the parts that [`super::send_reset`] and [`super::captcha`] share.

use super::RequestInfo;
use super::audit_scope::AuditScope;
use crate::code::{Code, CodeKey, CodePurpose};
use crate::event::Action;
use crate::identifier::Recipient;
use crate::origin::Origin;
use crate::ports::{CodeMessage, LoginAttempt, NewCode, QuotaUse};
use crate::rate_limit::Quota;
use crate::{Dependencies, Error, Result, UseCases};

/// The recipients to which a code may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecipientFilter {
    /// Every recipient.
    Anyone,
    /// Recipients without an account; others fail with [`Error::IdentifierTaken`].
    Unregistered,
    /// Recipients with an account; others fail with [`Error::UnknownUser`].
    Registered,
}

impl UseCases {
    /// Sends a code for `purpose` to `to`. The code replaces an earlier one for the same dialect, purpose and
    /// recipient.
    ///
    /// # Errors
    /// `Invalid("phone")` for a phone in a country that is not served; `IdentifierTaken` or `UnknownUser` by `filter`;
    /// `RateLimited`; `Unavailable`, `Internal`. The quotas count no send that fails.
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
    audit.set_account(account.as_ref());
    match (filter, &account) {
        (RecipientFilter::Unregistered, Some(_)) => return Err(Error::IdentifierTaken),
        (RecipientFilter::Registered, None) => return Err(Error::UnknownUser),
        _ => {}
    }
    let key = CodeKey::new(caller.dialect, purpose, to.key());
    let account_key = LoginAttempt::account_key(account.as_ref().map(|account| account.user.id), to.key());
    let (code, new_code) = generate_code(deps, caller, key, account_key, account.map_or(0, |a| a.epoch));
    consume_send_quota(deps, caller, RecipientQuota::Shared, to, &new_code).await?;
    dispatch_code(deps, caller, to, purpose, code)
}

/// Whether short messages are sent to the country of a phone number; `true` for e-mail addresses.
pub(super) fn is_in_served_country(deps: &Dependencies, to: &Recipient) -> bool {
    match to {
        Recipient::Phone(phone) => deps.policy.sms_countries.contains(phone),
        Recipient::Email(_) => true,
    }
}

/// The uses to count for one request of `kind`: one by the origin, and one by each of its enclosing networks.
pub(super) fn origin_quota_uses(kind: &str, origin: &Origin, quota: Quota) -> Vec<QuotaUse> {
    let enclosing = origin
        .enclosing_networks()
        .map(|(network, factor)| QuotaUse { key: format!("{kind}:{network}"), quota: quota.scaled_by(factor) });
    std::iter::once(QuotaUse { key: format!("{kind}:{origin}"), quota }).chain(enclosing).collect()
}

/// Generates a code for an account: returns the code to deliver, and the record to store under `key`.
pub(super) fn generate_code(
    deps: &Dependencies,
    caller: &RequestInfo,
    key: CodeKey,
    account: String,
    epoch: i64,
) -> (Code, NewCode) {
    let code = Code::generate(deps.random.as_ref());
    let tag = code.tag(&deps.mac, &key, &caller.app);
    let expires = deps.now().saturating_add(deps.policy.code_ttl);
    (code, NewCode { key, account, tag, epoch, expires })
}

/// The recipient and total quotas against which a send counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RecipientQuota {
    /// The quotas that dialects share. Each use is a message that was sent.
    Shared,
    /// Separate quotas of the calling dialect, which also count requests that send nothing. In the shared quotas,
    /// requests that send nothing would block the recipient in other dialects. If they were not counted, the quotas
    /// would show which requests send a message (user enumeration).
    PerDialect,
}

/// Counts a send by recipient, by origin and in total, and stores the code.
///
/// # Errors
/// `RateLimited` if a quota is exhausted; nothing is counted or stored then. `Unavailable`, `Internal`.
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
    // The total quota comes last, so that `exceeded.index` shows whether it was exceeded.
    let total_quota = quotas.total.map(|quota| (uses.len(), quota));
    uses.extend(quotas.total.map(|quota| QuotaUse { key: total_key, quota }));
    let Some(exceeded) = deps.state.consume_quotas(&uses, Some(code), deps.now()).await? else { return Ok(()) };
    if let Some((_, quota)) = total_quota.filter(|(index, _)| *index == exceeded.index) {
        deps.events.total_send_quota_reached(deps.now(), caller.dialect, quota.max);
    }
    Err(Error::RateLimited { retry_after: exceeded.retry_after })
}

/// Queues a code for delivery to `to`.
pub(super) fn dispatch_code(
    deps: &Dependencies,
    caller: &RequestInfo,
    to: &Recipient,
    purpose: CodePurpose,
    code: Code,
) -> Result<()> {
    deps.delivery.dispatch(CodeMessage { at: deps.now(), to: to.clone(), purpose, dialect: caller.dialect, code })
}
