//! Proof verification, shared by login and change of password: rate limits, freshness, the proof, replay protection,
//! and the recording of the attempt.
//!
//! The order of checks: readable, within the rate limits, fresh, correct, not replayed, enabled. A salted proof is
//! cheap, so it is verified first and the rate limits are checked in the one round trip that records the attempt; if
//! they reject it, the result is discarded. For a proof that costs a password hash, the rate limits are checked before.

use super::login::AllowedUsers;
use super::{clock_offset, credential};
use crate::mac::sha256;
use crate::password::PasswordDigest;
use crate::ports::{
    AttemptOutcome, LoginAttempt, ProofResult, RateLimitDecision, RepeatPermit, SuccessEffects, UsedProof,
};
use crate::proof::{Proof, ProofKind, SaltedProof};
use crate::session::DialectName;
use crate::time::Timestamp;
use crate::user::Account;
use crate::verifier::PresentedSecret;
use crate::{Dependencies, Error, Result};

/// How long a proof is remembered after it has become stale. A clock that is set back by up to this much makes an old
/// proof fresh again, and replay protection must still know it (ADR 11).
const MAX_CLOCK_SETBACK: std::time::Duration = std::time::Duration::from_secs(70 * 60);

/// A proof to be verified against an account.
pub(super) struct ProofRequest<'a> {
    /// The account. `None` costs as much and is always wrong.
    pub account: Option<Account>,
    /// What the rate limits count the attempt by.
    pub attempt: LoginAttempt,
    /// The proof.
    pub proof: &'a Proof,
    /// Who may log in here; for others the proof is wrong.
    pub allowed_users: AllowedUsers,
    /// Whether the rate limits were checked already.
    pub limit_check: LimitCheck,
    /// Whether the same proof is accepted once more within [`Policy::repeat_window`].
    ///
    /// [`Policy::repeat_window`]: crate::policy::Policy::repeat_window
    pub repeat_policy: RepeatPolicy,
}

/// Whether a proof may be repeated, by a client that has lost the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RepeatPolicy {
    /// No: the use case must not run twice.
    NotAllowed,
    /// Yes, in this dialect: a login.
    WithinDialect(DialectName),
}

/// Whether the rate limits of an attempt were checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LimitCheck {
    /// Not checked yet.
    Pending,
    /// Checked: the attempt is allowed.
    Passed,
}

/// A correct proof that has been recorded.
pub(super) struct VerifiedProof<T> {
    /// The account whose password it proves.
    pub account: Account,
    /// The kind of the proof.
    pub kind: ProofKind,
    /// What `grant` returned.
    pub granted: T,
}

/// How a proof matches the stored credential.
#[derive(Clone, Copy)]
enum ProofMatch {
    /// It does not match.
    NoMatch,
    /// The password hash matches.
    PasswordHash,
    /// The salted digest matches; replay protection applies.
    SaltedDigest(SaltedProof),
}

/// Verifies a proof and records the attempt, with the effects of success that `grant` returns for the account.
///
/// # Errors
/// `RateLimited`, `Stale`, `UnknownUser` (no account), `WrongPassword`, `Replayed`, `ChallengeFailed` (the code to be
/// consumed is gone), `Disabled`; `Busy`, `Unavailable`, `Internal`.
pub(super) async fn verify_proof<T>(
    deps: &Dependencies,
    proof_request: ProofRequest<'_>,
    grant: impl FnOnce(&Account) -> (SuccessEffects, T),
) -> Result<VerifiedProof<T>> {
    let ProofRequest { account, mut attempt, proof, allowed_users, mut limit_check, repeat_policy } = proof_request;
    let salted = proof.as_salted();
    let fresh = salted.is_none_or(|salted| is_fresh(deps, salted, attempt.now.as_secs()));
    if limit_check == LimitCheck::Pending && (proof.may_need_password_hash() || !fresh) {
        check_rate_limit(deps, &attempt).await?;
        limit_check = LimitCheck::Passed;
    }
    if let Some(stale) = salted.filter(|_| !fresh) {
        clock_offset::log_clock_offset(deps, account.as_ref(), stale, attempt.now).await;
        return Err(Error::Stale);
    }
    attempt.proof_made_at = salted.filter(|_| deps.policy.max_clock_skew.is_some()).map(|salted| salted.made_at());

    let matched = match_credential(deps, account.as_ref(), proof).await?;
    let (mut proof_result, grant_result) = evaluate_match(deps, account, matched, allowed_users, attempt.now, grant);
    let recorded_proof = match &mut proof_result {
        ProofResult::Valid(success) => {
            // A disabled user gets no session and so no permit; the proof is used all the same.
            let used_proof = success.used_proof.as_ref().filter(|_| success.session.is_some());
            success.repeat_permit = used_proof
                .and_then(|used_proof| repeat_permit(deps, used_proof, repeat_policy, allowed_users, &attempt));
            // The state store is checked as well: it holds the proofs that earlier versions accepted.
            match deps.policy.max_clock_skew {
                Some(_) => None,
                None => mark_proof_used(deps, &attempt, limit_check, success).await?,
            }
        }
        ProofResult::Invalid => None,
    };
    let outcome = deps.state.record_login_attempt(&attempt, &proof_result).await?;
    if let (AttemptOutcome::RateLimited { .. } | AttemptOutcome::CodeConsumed, Some(used_proof)) =
        (outcome, recorded_proof)
    {
        unmark_proof_used(deps, &used_proof).await;
    }
    match outcome {
        AttemptOutcome::RateLimited { retry_after } => return Err(Error::RateLimited { retry_after }),
        AttemptOutcome::ProofStale => return Err(Error::Stale),
        AttemptOutcome::ProofReplayed => return Err(Error::Replayed),
        AttemptOutcome::CodeConsumed => return Err(Error::ChallengeFailed),
        AttemptOutcome::Recorded => {}
    }
    let (account, granted) = grant_result?;
    if matches!(matched, ProofMatch::SaltedDigest(_)) {
        deps.salted_logins.record(&account, deps.now());
    }
    rehash_on_login(deps, &account, proof, matched).await;
    let kind = match (proof.kind(), matched) {
        (ProofKind::SaltedOrDigest, ProofMatch::SaltedDigest(_)) => ProofKind::Salted,
        (ProofKind::SaltedOrDigest, _) => ProofKind::Digest,
        (kind, _) => kind,
    };
    Ok(VerifiedProof { account, kind, granted })
}

/// What to record, and what to return if it is recorded.
fn evaluate_match<T>(
    deps: &Dependencies,
    account: Option<Account>,
    matched: ProofMatch,
    allowed_users: AllowedUsers,
    now: Timestamp,
    grant: impl FnOnce(&Account) -> (SuccessEffects, T),
) -> (ProofResult, Result<(Account, T)>) {
    let Some(account) = account else { return (ProofResult::Invalid, Err(Error::UnknownUser)) };
    let used_proof = match matched {
        _ if !allowed_users.permits(&account.user) => return (ProofResult::Invalid, Err(Error::WrongPassword)),
        ProofMatch::NoMatch => return (ProofResult::Invalid, Err(Error::WrongPassword)),
        ProofMatch::PasswordHash => None,
        ProofMatch::SaltedDigest(salted) => Some(to_used_proof(deps, &account, salted, now)),
    };
    let valid = |success| ProofResult::Valid(Box::new(SuccessEffects { used_proof, ..success }));
    if account.user.disabled {
        return (valid(SuccessEffects::default()), Err(Error::Disabled));
    }
    let (success, granted) = grant(&account);
    (valid(success), Ok((account, granted)))
}

/// Replay protection where timestamps are not checked: records a correct proof in the user store, because the state
/// store may be emptied. Nothing is recorded if the rate limits reject the attempt. Returns the proof if it was
/// recorded now; if it was used before, `success` needs a permit.
async fn mark_proof_used(
    deps: &Dependencies,
    attempt: &LoginAttempt,
    limit_check: LimitCheck,
    success: &mut SuccessEffects,
) -> Result<Option<UsedProof>> {
    let Some(used_proof) = &success.used_proof else { return Ok(None) };
    if limit_check == LimitCheck::Pending {
        check_rate_limit(deps, attempt).await?;
    }
    if deps.users.mark_proof_used(used_proof).await? {
        return Ok(Some(used_proof.clone()));
    }
    let permit = success.repeat_permit.as_mut().ok_or(Error::Replayed)?;
    permit.required = true;
    Ok(None)
}

/// The permit to repeat a proof in the same login, if repetition is allowed.
fn repeat_permit(
    deps: &Dependencies,
    used_proof: &UsedProof,
    repeat_policy: RepeatPolicy,
    allowed_users: AllowedUsers,
    attempt: &LoginAttempt,
) -> Option<RepeatPermit> {
    let window = deps.policy.repeat_window;
    let RepeatPolicy::WithinDialect(dialect) = repeat_policy else { return None };
    let name = format!("\0repeat\0{dialect}\0{allowed_users:?}\0{}", attempt.origin);
    let key = sha256(&[used_proof.key.as_slice(), name.as_bytes()].concat());
    (!window.is_zero()).then(|| RepeatPermit { key, expires: attempt.now.saturating_add(window), required: false })
}

/// Undoes the recording of a proof that was then rejected. If this fails, the client has to make a new proof.
async fn unmark_proof_used(deps: &Dependencies, used_proof: &UsedProof) {
    if let Err(error) = deps.users.unmark_proof_used(used_proof).await {
        tracing::warn!(cause = %error, "cannot undo the recording of a rejected proof; its client must make a new one");
    }
}

/// Checks the rate limits. Returns the failures so far on the counter that applies.
pub(super) async fn check_rate_limit(deps: &Dependencies, attempt: &LoginAttempt) -> Result<u32> {
    match deps.state.check_rate_limit(attempt).await? {
        RateLimitDecision::Allowed { failures, .. } => Ok(failures),
        RateLimitDecision::RateLimited { retry_after } => Err(Error::RateLimited { retry_after }),
    }
}

fn is_fresh(deps: &Dependencies, salted: SaltedProof, now_secs: i64) -> bool {
    deps.policy.max_clock_skew.is_none_or(|skew| salted.made_at().as_secs().abs_diff(now_secs) <= skew.as_secs())
}

/// Compares a proof with the account's credential.
async fn match_credential(deps: &Dependencies, account: Option<&Account>, proof: &Proof) -> Result<ProofMatch> {
    let secret = match proof {
        Proof::Raw(raw) => PresentedSecret::Raw(raw.clone()),
        Proof::Digest(digest) => PresentedSecret::Digest(digest.clone()),
        Proof::Salted(salted) | Proof::SaltedOrDigest(salted) if verify_salted(deps, account, *salted).await? => {
            return Ok(ProofMatch::SaltedDigest(*salted));
        }
        Proof::Salted(_) => return Ok(ProofMatch::NoMatch),
        Proof::SaltedOrDigest(other) => PresentedSecret::Digest(PasswordDigest::from_bytes(other.digest)),
    };
    let stored = account.map(|account| account.credential.verifier.clone());
    let verified = deps.hasher.verify(stored, secret).await?;
    // An empty password costs a hash and never matches, even an imported hash of the empty password.
    let is_empty = matches!(proof, Proof::Raw(raw) if raw.is_empty());
    Ok(if verified && !is_empty { ProofMatch::PasswordHash } else { ProofMatch::NoMatch })
}

pub(super) async fn verify_salted(deps: &Dependencies, account: Option<&Account>, salted: SaltedProof) -> Result<bool> {
    let sealed =
        account.filter(|_| deps.salted_logins_enabled()).and_then(|a| Some((a, a.credential.sealed.as_ref()?)));
    let opened = match sealed {
        // A missing or wrong key is an internal error: the password may be correct.
        Some((account, sealed)) => deps.open(&credential::seal_context(account.user.id), sealed).await?,
        None => deps.sealer.open_dummy(),
    };
    let bytes: [u8; 16] = opened.as_slice().try_into().map_err(Error::internal)?;
    let is_match = PasswordDigest::from_bytes(bytes).matches_proof(&salted);
    Ok(is_match && sealed.is_some())
}

fn to_used_proof(deps: &Dependencies, account: &Account, salted: SaltedProof, now: Timestamp) -> UsedProof {
    // The timestamp comes first, so that an ordered store keeps the proofs of one time on a few pages. It does not
    // distinguish proofs: a correct digest belongs to one timestamp text, and all candidate texts of a timestamp have
    // the same integer, by which earlier versions stored proofs too.
    let hash = sha256(&[account.user.id.as_bytes().as_slice(), &salted.digest].concat());
    let mut key = [0; 32];
    key[..8].copy_from_slice(&salted.timestamp.integer().to_be_bytes());
    key[8..].copy_from_slice(&hash[..24]);
    let expires = match deps.policy.max_clock_skew {
        // One second more, because timestamps are whole seconds.
        Some(skew) => salted.made_at().saturating_add(skew + std::time::Duration::from_secs(1) + MAX_CLOCK_SETBACK),
        None => now.saturating_add(deps.policy.replay_retention),
    };
    UsedProof { key, expires }
}

/// Rehash on login. A failure is only logged: the next login tries again.
async fn rehash_on_login(deps: &Dependencies, account: &Account, proof: &Proof, matched: ProofMatch) {
    let secret = match (proof, matched) {
        (Proof::Raw(raw), _) => PresentedSecret::Raw(raw.clone()),
        (Proof::Digest(digest), _) => PresentedSecret::Digest(digest.clone()),
        (Proof::SaltedOrDigest(either), ProofMatch::PasswordHash) => {
            PresentedSecret::Digest(PasswordDigest::from_bytes(either.digest))
        }
        // The digest is sealed already; without it, the salted proof could not have matched.
        (Proof::Salted(_) | Proof::SaltedOrDigest(_), _) => return,
    };
    if let Err(error) = credential::rehash_on_login(deps, account, &secret).await {
        tracing::warn!(cause = %error, "cannot upgrade a credential; the user's next login tries again");
    }
}
