//! Sending a reset code to a user who names their account and their phone or e-mail address (JWT document, 忘记密码).

use super::RequestInfo;
use super::audit_scope::AuditScope;
use super::send_code::{RecipientQuota, consume_send_quota, dispatch_code, generate_code, is_in_served_country};
use crate::code::{CodeKey, CodePurpose};
use crate::event::{Action, Outcome};
use crate::identifier::{Identifier, Recipient};
use crate::ports::{LoginAttempt, NewCode};
use crate::{Dependencies, Result, UseCases};

impl UseCases {
    /// Sends a reset code to `to` if it is the phone or the e-mail address of `account`, and in a country that is served. Does and answers the same if it
    /// is not, but for the sending; either way it is counted against what was submitted, in a quota of this dialect alone.
    ///
    /// # Errors
    /// `TooMany`; faults of ours.
    pub async fn send_reset(&self, caller: &RequestInfo, account: &str, to: &Recipient) -> Result<()> {
        let mut audit = AuditScope::start(&self.deps, Action::SendCode(CodePurpose::Reset), caller);
        match check_and_send(&self.deps, caller, account, to, &mut audit).await {
            // The client must not learn it; the trail must.
            Ok(outcome) => {
                audit.finish_with_outcome(outcome);
                Ok(())
            }
            Err(error) => audit.finish(Err(error)),
        }
    }
}

/// Returns whether it was sent, and if not, why.
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
    if let Some(found) = &found {
        audit.set_subject(found.user.id);
    }
    let subject = LoginAttempt::account_key(found.as_ref().map(|a| a.user.id), key);
    let epoch = found.as_ref().map_or(0, |account| account.epoch);
    let (code, new) = generate_code(deps, caller, CodeKey::new(caller.dialect, CodePurpose::Reset, &subject), epoch);
    let is_owner = found.as_ref().is_some_and(|account| account.user.owns_recipient(to));
    // What is not sent is kept all the same, where nobody looks for it: keeping takes time, and that would be seen.
    let decoy = || CodeKey::new(caller.dialect, CodePurpose::Reset, &format!("decoy:{subject}"));
    let stored_code = if is_owner { new } else { NewCode { key: decoy(), ..new } };
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
