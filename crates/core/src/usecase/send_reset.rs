//! Sending a reset code to a user who names their account and their phone or e-mail address (JWT document, 忘记密码).

use super::Caller;
use super::send_code::{RecipientQuota, count, dispatch, is_served, new_code};
use super::watch::Watch;
use crate::code::{CodeKey, Purpose};
use crate::event::{Act, Outcome};
use crate::identifier::{Identifier, Recipient};
use crate::ports::{Attempt, NewCode};
use crate::{Deps, Result, UseCases};

impl UseCases {
    /// Sends a reset code to `to` if it is the phone or the e-mail address of `account`, and in a country that is served. Does and answers the same if it
    /// is not, but for the sending; either way it is counted against what was submitted, in a quota of this dialect alone.
    ///
    /// # Errors
    /// `TooMany`; faults of ours.
    pub async fn send_reset(&self, caller: &Caller, account: &str, to: &Recipient) -> Result<()> {
        let mut watch = Watch::over(&self.deps, Act::SendCode(Purpose::Reset), caller);
        match send(&self.deps, caller, account, to, &mut watch).await {
            // The client must not learn it; the trail must.
            Ok(outcome) => {
                watch.end_as(outcome);
                Ok(())
            }
            Err(error) => watch.end(Err(error)),
        }
    }
}

/// Returns whether it was sent, and if not, why.
async fn send(deps: &Deps, caller: &Caller, account: &str, to: &Recipient, watch: &mut Watch<'_>) -> Result<Outcome> {
    deps.delivery.check(to)?;
    let parsed = Identifier::parse(account);
    let key = parsed.as_ref().map_or("", Identifier::key);
    let found = deps.users.find(key).await?;
    if let Some(found) = &found {
        watch.concerns(found.user.id);
    }
    let subject = Attempt::account_key(found.as_ref().map(|a| a.user.id), key);
    let epoch = found.as_ref().map_or(0, |account| account.epoch);
    let (code, new) = new_code(deps, caller, CodeKey::new(caller.dialect, Purpose::Reset, &subject), epoch);
    let theirs = found.as_ref().is_some_and(|account| account.user.is_reached_by(to));
    // What is not sent is kept all the same, where nobody looks for it: keeping takes time, and that would be seen.
    let decoy = || CodeKey::new(caller.dialect, Purpose::Reset, &format!("decoy:{subject}"));
    let kept = if theirs { new } else { NewCode { key: decoy(), ..new } };
    count(deps, caller, RecipientQuota::OfDialect, to, &kept).await?;
    Ok(match (theirs, is_served(deps, to)) {
        (true, true) => {
            dispatch(deps, caller, to, Purpose::Reset, code)?;
            Outcome::Done
        }
        (true, false) => Outcome::Invalid,
        (false, _) => Outcome::UnknownUser,
    })
}
