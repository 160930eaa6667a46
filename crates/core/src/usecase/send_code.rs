//! Sending a code (portal document, /code/send; MeFP document, 获取手机验证码).

use super::Caller;
use super::watch::Watch;
use crate::code::{Code, CodeKey, Purpose};
use crate::event::Act;
use crate::identifier::Recipient;
use crate::origin::Origin;
use crate::ports::{Message, NewCode, Use};
use crate::{Deps, Error, Result};

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

/// Sends a code for `purpose` to `to`, replacing an earlier one.
///
/// # Errors
/// `IdentifierTaken` or `UnknownUser` as `sendable` has it (such a refusal is not counted), `TooMany`; faults of ours.
pub async fn send_code(
    deps: &Deps,
    caller: &Caller,
    to: &Recipient,
    purpose: Purpose,
    sendable: Sendable,
) -> Result<()> {
    let mut watch = Watch::over(deps, Act::SendCode(purpose), caller);
    let outcome = send(deps, caller, to, purpose, sendable, &mut watch).await;
    watch.end(outcome)
}

async fn send(
    deps: &Deps,
    caller: &Caller,
    to: &Recipient,
    purpose: Purpose,
    sendable: Sendable,
    watch: &mut Watch<'_>,
) -> Result<()> {
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
    count(deps, caller, to, &new).await?;
    dispatch(deps, caller, to, purpose, code)
}

/// A new code under `key`, in the clear and as it is kept.
pub(super) fn new_code(deps: &Deps, caller: &Caller, key: CodeKey, epoch: i64) -> (Code, NewCode) {
    let code = Code::generate(deps.random.as_ref());
    let tag = code.tag(&deps.mac, &key, &caller.app);
    let expires = deps.now().after(deps.policy.code_ttl);
    (code, NewCode { key, tag, epoch, expires })
}

/// Counts a send by recipient and origin, and keeps its code, or refuses both.
pub(super) async fn count(deps: &Deps, caller: &Caller, to: &Recipient, code: &NewCode) -> Result<()> {
    let sending = &deps.policy.sending;
    let from = match caller.origin {
        Origin::Address(_) => sending.address,
        Origin::App(_) => sending.app,
    };
    let uses = [
        Use { key: format!("to:{}", to.key()), quota: sending.recipient },
        Use { key: format!("from:{}", caller.origin), quota: from },
    ];
    match deps.state.send_code(&uses, Some(code), deps.now()).await? {
        None => Ok(()),
        Some(retry_after) => Err(Error::TooMany { retry_after }),
    }
}

pub(super) fn dispatch(deps: &Deps, caller: &Caller, to: &Recipient, purpose: Purpose, code: Code) -> Result<()> {
    deps.delivery.dispatch(Message { at: deps.now(), to: to.clone(), purpose, dialect: caller.dialect, code })
}
