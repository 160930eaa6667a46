//! Checking a code without consuming it (MeFP document, 验证验证码), and the verification that other use cases share.

use super::RequestInfo;
use super::audit_scope::AuditScope;
use crate::code::{Code, CodeKey, CodePurpose};
use crate::event::Action;
use crate::identifier::Recipient;
use crate::ports::{CodeVerification, CodeVerificationResult, LoginAttempt, OnCodeMatch};
use crate::{Dependencies, Error, Result, UseCases};

impl UseCases {
    /// Checks `code`, which was sent to `to` in this dialect through this app for any of `purposes`. A wrong guess is
    /// counted.
    ///
    /// # Errors
    /// `WrongCode`, `RateLimited`; `Unavailable`, `Internal`.
    pub async fn check_code(
        &self,
        caller: &RequestInfo,
        to: &Recipient,
        purposes: &[CodePurpose],
        code: &Code,
    ) -> Result<()> {
        let mut audit = AuditScope::start(&self.deps, Action::CheckCode, caller);
        let outcome = verify_without_consuming(&self.deps, caller, to, purposes, code, &mut audit).await;
        audit.finish(outcome)
    }
}

async fn verify_without_consuming(
    deps: &Dependencies,
    caller: &RequestInfo,
    to: &Recipient,
    purposes: &[CodePurpose],
    code: &Code,
    audit: &mut AuditScope<'_>,
) -> Result<()> {
    let account = deps.users.find_by_identifier(to.key()).await?;
    if let Some(account) = &account {
        audit.set_subject(account.user.id);
    }
    let attempt = caller.login_attempt(deps, account.as_ref(), to.key());
    let keys: Vec<_> = purposes.iter().map(|&purpose| CodeKey::new(caller.dialect, purpose, to.key())).collect();
    verify_code(deps, caller, &attempt, &keys, code, OnCodeMatch::Keep).await
}

/// Verifies a guess at the codes under `keys`, which must have been sent under the attempt's epoch, and counts it.
pub(super) async fn verify_code(
    deps: &Dependencies,
    caller: &RequestInfo,
    attempt: &LoginAttempt,
    keys: &[CodeKey],
    code: &Code,
    on_match: OnCodeMatch,
) -> Result<()> {
    let candidates = keys.iter().map(|key| (key.clone(), code.tag(&deps.mac, key, &caller.app))).collect();
    let guess =
        CodeVerification { candidates, epoch: attempt.epoch, on_match, max_attempts: deps.policy.max_code_attempts };
    match deps.state.verify_code(attempt, &guess).await? {
        CodeVerificationResult::Valid(_) => Ok(()),
        CodeVerificationResult::Invalid => Err(Error::WrongCode),
        CodeVerificationResult::RateLimited { retry_after } => Err(Error::RateLimited { retry_after }),
    }
}
