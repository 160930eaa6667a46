//! Checking a code without consuming it (MeFP document, 验证验证码), and the verification of codes that other use cases
//! share.

use super::RequestInfo;
use super::audit_scope::AuditScope;
use crate::code::{Code, CodeKey, CodePurpose};
use crate::event::Action;
use crate::identifier::Recipient;
use crate::ports::{CodeVerification, CodeVerificationResult, LoginAttempt, OnCodeMatch};
use crate::{Dependencies, Error, Result, UseCases};

impl UseCases {
    /// Checks whether `code` was sent to `to` for one of `purposes`, in the caller's dialect and through the caller's
    /// app. A correct code stays valid; a wrong code is counted as a failure.
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
    audit.set_account(account.as_ref());
    let attempt = caller.login_attempt(deps, account.as_ref(), to.key());
    let keys: Vec<_> = purposes.iter().map(|&purpose| CodeKey::new(caller.dialect, purpose, to.key())).collect();
    verify_code(deps, caller, &attempt, &keys, code, OnCodeMatch::Keep).await
}

/// Verifies `code` against the codes under `keys`, which must have been sent under the attempt's epoch. A wrong code is
/// counted as a failure.
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
