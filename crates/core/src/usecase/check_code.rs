//! Checking a code without using it up (MeFP document, 验证验证码).

use super::Caller;
use super::watch::Watch;
use crate::code::{Code, CodeKey, Purpose};
use crate::event::Act;
use crate::identifier::Recipient;
use crate::ports::{Attempt, CodeCheck, CodeGuess, CodeUse};
use crate::{Deps, Error, Result, UseCases};

impl UseCases {
    /// Checks `code`, sent to `to` in this dialect and through this app for any of `purposes`. A wrong one is counted.
    ///
    /// # Errors
    /// `WrongCode`, `TooMany`; faults of ours.
    pub async fn check_code(&self, caller: &Caller, to: &Recipient, purposes: &[Purpose], code: &Code) -> Result<()> {
        let mut watch = Watch::over(&self.deps, Act::CheckCode, caller);
        let outcome = check(&self.deps, caller, to, purposes, code, &mut watch).await;
        watch.end(outcome)
    }
}

async fn check(
    deps: &Deps,
    caller: &Caller,
    to: &Recipient,
    purposes: &[Purpose],
    code: &Code,
    watch: &mut Watch<'_>,
) -> Result<()> {
    let account = deps.users.find(to.key()).await?;
    if let Some(account) = &account {
        watch.concerns(account.user.id);
    }
    let attempt = caller.attempt(deps, account.as_ref(), to.key());
    let keys: Vec<_> = purposes.iter().map(|&purpose| CodeKey::new(caller.dialect, purpose, to.key())).collect();
    guess(deps, caller, &attempt, &keys, code, CodeUse::Check).await
}

/// Books a guess at the codes under `keys`, which must have been sent under the attempt's epoch.
pub(super) async fn guess(
    deps: &Deps,
    caller: &Caller,
    attempt: &Attempt,
    keys: &[CodeKey],
    code: &Code,
    on_right: CodeUse,
) -> Result<()> {
    let candidates = keys.iter().map(|key| (key.clone(), code.tag(&deps.mac, key, &caller.app))).collect();
    let guess = CodeGuess { candidates, epoch: attempt.epoch, on_right, max_tries: deps.policy.code_tries };
    match deps.state.guess_code(attempt, &guess).await? {
        CodeCheck::Right(_) => Ok(()),
        CodeCheck::Wrong => Err(Error::WrongCode),
        CodeCheck::Blocked { retry_after } => Err(Error::TooMany { retry_after }),
    }
}
