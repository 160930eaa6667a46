//! The heart of every login: limits, freshness, the proof itself, replay, and the booking of it all.
//!
//! The order of checks is DESIGN's: readable, within the limits, fresh, right, not replayed, enabled. A salted proof
//! is cheap to check, so it is checked first and the limits are asked in the one trip that books the outcome; what
//! was found is then thrown away if they refuse. A proof that costs a hash asks the limits before it pays.

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

/// For how long a proof is remembered beyond the time that it is fresh: a clock that is set back by an hour, to where
/// the proof is fresh once more, does not make it good once more. See `docs/adr/0011-a-clock-that-is-set.md`.
const MAX_CLOCK_SETBACK: std::time::Duration = std::time::Duration::from_secs(70 * 60);

/// A proof to be checked against an account.
pub(super) struct ProofRequest<'a> {
    /// The account; `None` costs as much and is always wrong.
    pub account: Option<Account>,
    /// What it is counted by.
    pub attempt: LoginAttempt,
    /// The proof.
    pub proof: &'a Proof,
    /// Who may use this door; for others the proof is wrong.
    pub allowed_users: AllowedUsers,
    /// Whether the rate limits were checked already.
    pub limit_check: LimitCheck,
    /// Whether the same proof is good once more within [`Policy::repeat_window`].
    ///
    /// [`Policy::repeat_window`]: crate::policy::Policy::repeat_window
    pub repeat_policy: RepeatPolicy,
}

/// Whether a proof may be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RepeatPolicy {
    /// It may not: what it does is not done twice.
    NotAllowed,
    /// It may, in this dialect: a login.
    WithinDialect(DialectName),
}

/// Whether the rate limits of an attempt were checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LimitCheck {
    /// Not made yet.
    Pending,
    /// Made: they admit the attempt.
    Passed,
}

/// A proof that is right, was not used before, and is booked.
pub(super) struct VerifiedProof<T> {
    /// Whose password it proves.
    pub account: Account,
    /// What it was made of.
    pub kind: ProofKind,
    /// What was made for it.
    pub granted: T,
}

/// What the stored credential says of a proof.
#[derive(Clone, Copy)]
enum ProofMatch {
    /// It does not match.
    NoMatch,
    /// The password hash matches.
    PasswordHash,
    /// It is the digest salted; as such it must not be accepted again.
    SaltedDigest(SaltedProof),
}

/// Checks and books a proof, together with the success that `grant` makes for its account.
///
/// # Errors
/// `TooMany`, `Stale`, `UnknownUser` (no account), `WrongPassword`, `Replayed`, `ChallengeFailed` (the code that the
/// success uses up is gone), `Disabled`; `Busy` and faults of ours.
pub(super) async fn verify_proof<T>(
    deps: &Dependencies,
    claim: ProofRequest<'_>,
    grant: impl FnOnce(&Account) -> (SuccessEffects, T),
) -> Result<VerifiedProof<T>> {
    let ProofRequest { account, mut attempt, proof, allowed_users: audience, mut limit_check, repeat_policy: repeats } =
        claim;
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
    let (mut proof_result, grant_result) = evaluate_match(deps, account, matched, audience, attempt.now, grant);
    let used = match &mut proof_result {
        ProofResult::Valid(success) => {
            // Without a session (a disabled user) there is no permit: the proof is used up all the same.
            let mark = success.used_proof.as_ref().filter(|_| success.session.is_some());
            success.repeat_permit = mark.and_then(|mark| repeat_permit(deps, mark, repeats, audience, &attempt));
            // The short-lived store's mark is made and looked at as well: it holds what earlier versions accepted.
            match deps.policy.max_clock_skew {
                Some(_) => None,
                None => mark_proof_used(deps, &attempt, limit_check, success).await?,
            }
        }
        ProofResult::Invalid => None,
    };
    let outcome = deps.state.record_login_attempt(&attempt, &proof_result).await?;
    if let (AttemptOutcome::RateLimited { .. } | AttemptOutcome::CodeConsumed, Some(mark)) = (outcome, used) {
        unmark_proof_used(deps, &mark).await;
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
        (plain, _) => plain,
    };
    Ok(VerifiedProof { account, kind, granted })
}

/// What the stores are to book, and what the caller gets if they do.
fn evaluate_match<T>(
    deps: &Dependencies,
    account: Option<Account>,
    matched: ProofMatch,
    audience: AllowedUsers,
    now: Timestamp,
    grant: impl FnOnce(&Account) -> (SuccessEffects, T),
) -> (ProofResult, Result<(Account, T)>) {
    let Some(account) = account else { return (ProofResult::Invalid, Err(Error::UnknownUser)) };
    let replay = match matched {
        _ if !audience.permits(&account.user) => return (ProofResult::Invalid, Err(Error::WrongPassword)),
        ProofMatch::NoMatch => return (ProofResult::Invalid, Err(Error::WrongPassword)),
        ProofMatch::PasswordHash => None,
        ProofMatch::SaltedDigest(salted) => Some(used_proof(deps, &account, salted, now)),
    };
    let right = |success| ProofResult::Valid(Box::new(SuccessEffects { used_proof: replay, ..success }));
    if account.user.disabled {
        return (right(SuccessEffects::default()), Err(Error::Disabled));
    }
    let (success, granted) = grant(&account);
    (right(success), Ok((account, granted)))
}

/// Remembers a right proof that need not be fresh in the users' database: the short-lived store may be emptied, and then
/// nothing else distinguishes the proof from a replay. What the limits refuse is not used up. Gives the mark, if it was made
/// now; if the proof was used before, `success` needs a permit.
async fn mark_proof_used(
    deps: &Dependencies,
    attempt: &LoginAttempt,
    limit_check: LimitCheck,
    success: &mut SuccessEffects,
) -> Result<Option<UsedProof>> {
    let Some(mark) = &success.used_proof else { return Ok(None) };
    if limit_check == LimitCheck::Pending {
        check_rate_limit(deps, attempt).await?;
    }
    if deps.users.mark_proof_used(mark).await? {
        return Ok(Some(mark.clone()));
    }
    let permit = success.repeat_permit.as_mut().ok_or(Error::Replayed)?;
    permit.required = true;
    Ok(None)
}

/// The permit to repeat a proof at the same door, if there are any.
fn repeat_permit(
    deps: &Dependencies,
    mark: &UsedProof,
    repeats: RepeatPolicy,
    door: AllowedUsers,
    attempt: &LoginAttempt,
) -> Option<RepeatPermit> {
    let window = deps.policy.repeat_window;
    let RepeatPolicy::WithinDialect(dialect) = repeats else { return None };
    let name = format!("\0repeat\0{dialect}\0{door:?}\0{}", attempt.origin);
    let key = sha256(&[mark.key.as_slice(), name.as_bytes()].concat());
    (!window.is_zero()).then(|| RepeatPermit { key, expires: attempt.now.saturating_add(window), required: false })
}

/// Gives a proof back that was used up and then refused for another reason. If that fails, the client needs another one.
async fn unmark_proof_used(deps: &Dependencies, mark: &UsedProof) {
    if let Err(cause) = deps.users.unmark_proof_used(mark).await {
        tracing::warn!(%cause, "a proof that was refused stays used up");
    }
}

/// Checks the limits; returns the failures so far in the budget that applies.
pub(super) async fn check_rate_limit(deps: &Dependencies, attempt: &LoginAttempt) -> Result<u32> {
    match deps.state.check_rate_limit(attempt).await? {
        RateLimitDecision::Allowed { failures, .. } => Ok(failures),
        RateLimitDecision::RateLimited { retry_after } => Err(Error::RateLimited { retry_after }),
    }
}

fn is_fresh(deps: &Dependencies, salted: SaltedProof, now_secs: i64) -> bool {
    deps.policy.max_clock_skew.is_none_or(|skew| salted.made_at().as_secs().abs_diff(now_secs) <= skew.as_secs())
}

/// Compares the proof with the account's credential.
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
    // An empty password costs a hash and is never right, whatever hash was imported.
    let is_empty = matches!(proof, Proof::Raw(raw) if raw.is_empty());
    Ok(if verified && !is_empty { ProofMatch::PasswordHash } else { ProofMatch::NoMatch })
}

pub(super) async fn verify_salted(deps: &Dependencies, account: Option<&Account>, salted: SaltedProof) -> Result<bool> {
    let sealed =
        account.filter(|_| deps.salted_logins_enabled()).and_then(|a| Some((a, a.credential.sealed.as_ref()?)));
    let opened = match sealed {
        // A key that is missing or wrong is our fault; the user's password may well be right.
        Some((account, sealed)) => deps.open(&credential::seal_context(account.user.id), sealed).await?,
        None => deps.sealer.open_dummy(),
    };
    let bytes: [u8; 16] = opened.as_slice().try_into().map_err(Error::internal)?;
    let proves = PasswordDigest::from_bytes(bytes).matches_proof(&salted);
    Ok(proves && sealed.is_some())
}

fn used_proof(deps: &Dependencies, account: &Account, salted: SaltedProof, now: Timestamp) -> UsedProof {
    // The proof's time is in front of it, so that those of one time are stored side by side: a store that keeps its rows
    // in order has them in a page or two, and not one in each. It is no part of what distinguishes proofs: a digest that is
    // right belongs to one text, and all writings of a timestamp that can lead to it are of one whole number, by which
    // earlier versions kept them too.
    let hash = sha256(&[account.user.id.as_bytes().as_slice(), &salted.digest].concat());
    let mut key = [0; 32];
    key[..8].copy_from_slice(&salted.timestamp.integer().to_be_bytes());
    key[8..].copy_from_slice(&hash[..24]);
    let expires = match deps.policy.max_clock_skew {
        // One second more, for the timestamp is in whole seconds.
        Some(skew) => salted.made_at().saturating_add(skew + std::time::Duration::from_secs(1) + MAX_CLOCK_SETBACK),
        None => now.saturating_add(deps.policy.replay_retention),
    };
    UsedProof { key, expires }
}

/// A login must not fail because its upgrade does: the next one tries again.
async fn rehash_on_login(deps: &Dependencies, account: &Account, proof: &Proof, matched: ProofMatch) {
    let secret = match (proof, matched) {
        (Proof::Raw(raw), _) => PresentedSecret::Raw(raw.clone()),
        (Proof::Digest(digest), _) => PresentedSecret::Digest(digest.clone()),
        (Proof::SaltedOrDigest(either), ProofMatch::PasswordHash) => {
            PresentedSecret::Digest(PasswordDigest::from_bytes(either.digest))
        }
        // D is sealed already, or this proof could not have been right.
        (Proof::Salted(_) | Proof::SaltedOrDigest(_), _) => return,
    };
    if let Err(cause) = credential::rehash_on_login(deps, account, &secret).await {
        tracing::warn!(%cause, "a credential could not be upgraded");
    }
}
