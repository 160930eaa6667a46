//! Sending a reset code to a recipient that the client names with the account (JWT document, 忘记密码), without user
//! enumeration.

use super::RequestInfo;
use super::audit_scope::AuditScope;
use super::send_code::{RecipientQuota, consume_send_quota, dispatch_code, generate_code, is_in_served_country};
use crate::code::{CodeKey, CodePurpose};
use crate::event::{Action, Outcome};
use crate::identifier::{Identifier, Recipient};
use crate::ports::{LoginAttempt, NewCode};
use crate::{Dependencies, Result, UseCases};

impl UseCases {
    /// Sends a reset code to `to` if it is the phone number or e-mail address of `account`, and a phone number is in a
    /// country that is served. Otherwise the work, the response and the counted quotas are the same, but nothing is
    /// sent. The recipient and total quotas are separate from those of other dialects.
    ///
    /// # Errors
    /// `RateLimited`; `Unavailable`, `Internal`.
    pub async fn send_reset(&self, caller: &RequestInfo, account: &str, to: &Recipient) -> Result<()> {
        let mut audit = AuditScope::start(&self.deps, Action::SendCode(CodePurpose::Reset), caller);
        match check_and_send(&self.deps, caller, account, to, &mut audit).await {
            // The audit log records what the client must not learn.
            Ok(outcome) => {
                audit.finish_with_outcome(outcome);
                Ok(())
            }
            Err(error) => audit.finish(Err(error)),
        }
    }
}

/// Returns the outcome for the audit log: `Done` if the code was sent, otherwise why not.
async fn check_and_send(
    deps: &Dependencies,
    caller: &RequestInfo,
    account: &str,
    to: &Recipient,
    audit: &mut AuditScope<'_>,
) -> Result<Outcome> {
    deps.delivery.check_available(to)?;
    let parsed = Identifier::parse(account);
    let key = parsed.as_ref().map_or("", Identifier::key);
    let found = deps.users.find_by_identifier(key).await?;
    audit.set_account(found.as_ref());
    let subject = LoginAttempt::account_key(found.as_ref().map(|a| a.user.id), key);
    let epoch = found.as_ref().map_or(0, |account| account.epoch);
    let code_key = CodeKey::new(caller.dialect, CodePurpose::Reset, &subject);
    let (code, new_code) = generate_code(deps, caller, code_key, subject.clone(), epoch);
    let is_owner = found.as_ref().is_some_and(|account| account.user.owns_recipient(to));
    // A code that is not sent is stored too, under a key that is never looked up, so that the response time does not
    // differ (timing side channel).
    let decoy_key = || CodeKey::new(caller.dialect, CodePurpose::Reset, &format!("decoy:{subject}"));
    let stored_code = if is_owner { new_code } else { NewCode { key: decoy_key(), ..new_code } };
    consume_send_quota(deps, caller, RecipientQuota::PerDialect, to, &stored_code).await?;
    Ok(match (is_owner, is_in_served_country(deps, to)) {
        (true, true) => {
            dispatch_code(deps, caller, to, CodePurpose::Reset, code)?;
            Outcome::Done
        }
        (true, false) => Outcome::Invalid,
        (false, _) => Outcome::UnknownUser,
    })
}
