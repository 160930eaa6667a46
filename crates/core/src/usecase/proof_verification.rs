//! Password verification, shared by login and change of password: rate limits against brute force, freshness of the
//! timestamp, comparison with the credential, replay protection, and recording of the attempt.
//!
//! An attempt is rejected by the first of these checks that fails: the rate limits allow it; the timestamp is fresh;
//! the proof is correct; the proof is not a replay; the user is enabled. Verifying a salted proof is cheap, so it
//! happens first, and the rate limits are checked in the one round trip that records the attempt; if they reject the
//! attempt, the result is discarded. Before a proof that costs a password hash is verified, or is asked about at an old
//! server ([`super::old_login`]), the rate limits are checked in a separate round trip.

use super::login::AllowedUsers;
use super::old_login::{self, ConfirmedLogin, UnverifiedLogin};
use super::{RequestInfo, clock_offset, credential};
use crate::identifier::Identifier;
use crate::mac::sha256;
use crate::password::PasswordDigest;
use crate::ports::{
    AttemptOutcome, LoginAttempt, ProofResult, RateLimitDecision, RepeatPermit, SuccessEffects, UsedProof,
};
use crate::proof::{Proof, ProofKind, SaltedProof};
use crate::session::DialectName;
use crate::time::Timestamp;
use crate::user::Account;
use crate::verifier::{self, PresentedSecret};
use crate::{Dependencies, Error, Result};

/// How long a proof is remembered after it has become stale. If the clock is set back by up to this much, an old proof
/// becomes fresh again, and replay protection must still know it (ADR 11).
const MAX_CLOCK_SETBACK: std::time::Duration = std::time::Duration::from_secs(70 * 60);

/// A proof to be verified against an account.
pub(super) struct ProofRequest<'a> {
    /// The request.
    pub caller: &'a RequestInfo,
    /// The content of the login field; `None` where the user is named by id.
    pub identifier: Option<&'a Identifier>,
    /// The account; `None` if no user has the identifier. The proof then counts as wrong, after the same work (user
    /// enumeration).
    pub account: Option<Account>,
    /// The attempt as the rate limits count it.
    pub attempt: LoginAttempt,
    /// The proof.
    pub proof: &'a Proof,
    /// The users whom the use case accepts. For other users the proof counts as wrong.
    pub allowed_users: AllowedUsers,
    /// Whether the rate limits were checked already.
    pub limit_check: LimitCheck,
    /// Whether this proof may be accepted once more within [`Policy::repeat_window`].
    ///
    /// [`Policy::repeat_window`]: crate::policy::Policy::repeat_window
    pub repeat_policy: RepeatPolicy,
}

/// Whether a salted proof may be repeated once, by a client that has not received the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RepeatPolicy {
    /// The proof must not be repeated, because the use case must not run twice.
    NotAllowed,
    /// The proof of a login may be repeated in this dialect, from the same origin.
    WithinDialect(DialectName),
}

/// Whether the rate limits of an attempt were checked already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LimitCheck {
    /// The rate limits were not checked yet.
    Pending,
    /// The rate limits were checked and allow the attempt.
    Passed,
}

/// A correct proof that has been recorded.
pub(super) struct VerifiedProof<T> {
    /// The account whose password the proof proves.
    pub account: Account,
    /// The kind of the proof.
    pub kind: ProofKind,
    /// The second value that `grant` returned.
    pub granted: T,
}

/// The part of the stored credential that a proof matches.
#[derive(Clone, Copy)]
pub(super) enum ProofMatch {
    /// The proof does not match the credential.
    NoMatch,
    /// The proof matches the verifier (a password hash).
    PasswordHash,
    /// The salted proof matches the sealed digest, so replay protection applies.
    SaltedDigest(SaltedProof),
    /// An old server has confirmed the proof. Replay protection applies to a relayed salted proof.
    OldServer(Option<SaltedProof>),
}

impl ProofMatch {
    /// Whether the proof is correct.
    pub(super) fn is_match(self) -> bool {
        !matches!(self, Self::NoMatch)
    }
}

/// Verifies a proof and records the attempt. If the proof is correct, `grant` returns the effects to record, and a
/// value that is returned in [`VerifiedProof::granted`].
///
/// # Errors
/// `RateLimited`, `Stale`, `UnknownUser` (no account), `WrongPassword`, `Replayed`, `ChallengeFailed` (the code to be
/// consumed is gone), `Disabled`; `Busy`, `Unavailable`, `Internal`.
pub(super) async fn verify_proof<T>(
    deps: &Dependencies,
    proof_request: ProofRequest<'_>,
    grant: impl FnOnce(&Account) -> (SuccessEffects, T),
) -> Result<VerifiedProof<T>> {
    let ProofRequest {
        caller,
        identifier,
        mut account,
        mut attempt,
        proof,
        allowed_users,
        mut limit_check,
        repeat_policy,
    } = proof_request;
    let salted = proof.as_salted();
    let is_fresh_proof = salted.is_none_or(|salted| is_fresh(deps, salted, attempt.now.as_secs()));
    if limit_check == LimitCheck::Pending && (proof.may_need_password_hash() || !is_fresh_proof) {
        check_rate_limit(deps, &attempt).await?;
        limit_check = LimitCheck::Passed;
    }
    if let Some(stale) = salted.filter(|_| !is_fresh_proof) {
        clock_offset::log_clock_offset(deps, account.as_ref(), stale, attempt.now).await;
        return Err(Error::Stale);
    }
    attempt.proof_made_at = salted.filter(|_| deps.policy.max_clock_skew.is_some()).map(|salted| salted.made_at());

    let mut proof_match = match_credential(deps, account.as_ref(), proof).await?;
    let mut confirmed = None;
    if !proof_match.is_match() {
        let login = UnverifiedLogin {
            caller,
            identifier,
            account: account.as_ref(),
            proof,
            allowed_users,
            attempt: &attempt,
            may_repeat: repeat_policy != RepeatPolicy::NotAllowed && !deps.policy.repeat_window.is_zero(),
        };
        confirmed = old_login::ask_old_server(deps, &login).await?;
    }
    if let Some(confirmed) = &confirmed {
        proof_match = ProofMatch::OldServer(confirmed.relayed);
        account = Some(confirmed.account.clone());
        limit_check = LimitCheck::Passed;
    }
    let (mut proof_result, grant_result) =
        evaluate_match(deps, account, proof_match, allowed_users, attempt.now, grant);
    let marked_proof = match &mut proof_result {
        ProofResult::Valid(success) => {
            let policies = (repeat_policy, allowed_users);
            prepare_effects(deps, success, &mut attempt, confirmed.as_mut(), limit_check, policies).await?
        }
        ProofResult::Invalid => None,
    };
    let outcome = deps.state.record_login_attempt(&attempt, &proof_result).await?;
    if let (AttemptOutcome::RateLimited { .. } | AttemptOutcome::CodeConsumed, Some(used_proof)) =
        (outcome, marked_proof)
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
    if matches!(proof_match, ProofMatch::SaltedDigest(_)) {
        deps.salted_logins.record(&account, deps.now());
    }
    match confirmed {
        Some(confirmed) => old_login::finish(deps, caller, &account, confirmed).await,
        None => rehash_on_login(deps, &account, proof, proof_match).await,
    }
    let kind = match (proof.kind(), proof_match) {
        (ProofKind::SaltedOrDigest, ProofMatch::SaltedDigest(_) | ProofMatch::OldServer(Some(_))) => ProofKind::Salted,
        (ProofKind::SaltedOrDigest, _) => ProofKind::Digest,
        (kind, _) => kind,
    };
    Ok(VerifiedProof { account, kind, granted })
}

/// Evaluates the match: returns the result to record, and the result of the use case if the attempt is recorded.
fn evaluate_match<T>(
    deps: &Dependencies,
    account: Option<Account>,
    proof_match: ProofMatch,
    allowed_users: AllowedUsers,
    now: Timestamp,
    grant: impl FnOnce(&Account) -> (SuccessEffects, T),
) -> (ProofResult, Result<(Account, T)>) {
    let Some(account) = account else { return (ProofResult::Invalid, Err(Error::UnknownUser)) };
    let used_proof = match proof_match {
        _ if !allowed_users.permits(&account.user) => return (ProofResult::Invalid, Err(Error::WrongPassword)),
        ProofMatch::NoMatch => return (ProofResult::Invalid, Err(Error::WrongPassword)),
        ProofMatch::PasswordHash | ProofMatch::OldServer(None) => None,
        ProofMatch::SaltedDigest(salted) | ProofMatch::OldServer(Some(salted)) => {
            Some(to_used_proof(deps, account.user.id.as_bytes(), salted, now))
        }
    };
    let valid_result = |success| ProofResult::Valid(Box::new(SuccessEffects { used_proof, ..success }));
    if account.user.disabled {
        return (valid_result(SuccessEffects::default()), Err(Error::Disabled));
    }
    let (success, granted) = grant(&account);
    (valid_result(success), Ok((account, granted)))
}

/// Completes the effects of a correct proof before they are recorded: the permit to repeat it, the account of a login
/// that an old server has confirmed, and replay protection by the user store. Returns the proof that is recorded there.
///
/// # Errors
/// As [`mark_proof_used`].
async fn prepare_effects(
    deps: &Dependencies,
    success: &mut SuccessEffects,
    attempt: &mut LoginAttempt,
    confirmed: Option<&mut ConfirmedLogin>,
    limit_check: LimitCheck,
    (repeat_policy, allowed_users): (RepeatPolicy, AllowedUsers),
) -> Result<Option<UsedProof>> {
    // A disabled user gets no session and so no permit. The proof is recorded as used nevertheless.
    let used_proof = success.used_proof.as_ref().filter(|_| success.session.is_some());
    success.repeat_permit =
        used_proof.and_then(|used_proof| new_repeat_permit(deps, used_proof, repeat_policy, allowed_users, attempt));
    if let Some(confirmed) = confirmed {
        confirmed.move_attempt(attempt, success);
        if let Some(mark) = confirmed.mark.take() {
            return mark.require_permit_if_used(success);
        }
    }
    // Where timestamps are not checked, the user store records the proof first. `record_login_attempt` then checks the
    // state store too, which has the proofs that earlier versions accepted.
    match deps.policy.max_clock_skew {
        Some(_) => Ok(None),
        None => mark_proof_used(deps, attempt, limit_check, success).await,
    }
}

/// Replay protection where timestamps are not checked: records a correct salted proof in the user store, because the
/// state store may be emptied. Fails without recording if the rate limits reject the attempt. Returns the proof if it
/// was recorded now; if it was used before, returns `None` and marks the permit in `success` as required.
///
/// # Errors
/// `RateLimited`; `Replayed` if the proof was used before and must not be repeated; `Unavailable`, `Internal`.
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
    permit.is_required = true;
    Ok(None)
}

/// The permit to repeat a proof in the same dialect, from the same origin and for the same kind of users; `None` if
/// repetition is not allowed.
fn new_repeat_permit(
    deps: &Dependencies,
    used_proof: &UsedProof,
    repeat_policy: RepeatPolicy,
    allowed_users: AllowedUsers,
    attempt: &LoginAttempt,
) -> Option<RepeatPermit> {
    let window = deps.policy.repeat_window;
    let RepeatPolicy::WithinDialect(dialect) = repeat_policy else { return None };
    // These words are part of stored keys.
    let users = match allowed_users {
        AllowedUsers::Everyone => "Everyone",
        AllowedUsers::Admins => "Admins",
    };
    let scope = format!("\0repeat\0{dialect}\0{users}\0{}", attempt.origin);
    let key = sha256(&[used_proof.key.as_slice(), scope.as_bytes()].concat());
    (!window.is_zero()).then(|| RepeatPermit { key, expires: attempt.now.saturating_add(window), is_required: false })
}

/// Undoes the recording of a proof that was then rejected. If this fails, it is logged, and the client has to make a
/// new proof.
async fn unmark_proof_used(deps: &Dependencies, used_proof: &UsedProof) {
    if let Err(error) = deps.users.unmark_proof_used(used_proof).await {
        tracing::warn!(
            cause = %error,
            "cannot undo the recording of a rejected proof; the client must make a new proof"
        );
    }
}

/// Checks the rate limits. Returns the number of failures on the counter that applies to the attempt.
///
/// # Errors
/// `RateLimited`; `Unavailable`, `Internal`.
pub(super) async fn check_rate_limit(deps: &Dependencies, attempt: &LoginAttempt) -> Result<u32> {
    match deps.state.check_rate_limit(attempt).await? {
        RateLimitDecision::Allowed { failures, .. } => Ok(failures),
        RateLimitDecision::RateLimited { retry_after } => Err(Error::RateLimited { retry_after }),
    }
}

fn is_fresh(deps: &Dependencies, salted: SaltedProof, now_secs: i64) -> bool {
    deps.policy.max_clock_skew.is_none_or(|skew| salted.made_at().as_secs().abs_diff(now_secs) <= skew.as_secs())
}

/// Compares a proof with the account's credential. Without an account the work is the same.
pub(super) async fn match_credential(
    deps: &Dependencies,
    account: Option<&Account>,
    proof: &Proof,
) -> Result<ProofMatch> {
    let secret = match proof {
        Proof::Raw(raw) => PresentedSecret::Raw(raw.clone()),
        Proof::Digest(digest) => PresentedSecret::Digest(digest.clone()),
        Proof::Salted(salted) | Proof::SaltedOrDigest(salted) if verify_salted(deps, account, *salted).await? => {
            return Ok(ProofMatch::SaltedDigest(*salted));
        }
        Proof::Salted(_) => return Ok(ProofMatch::NoMatch),
        Proof::SaltedOrDigest(digest_proof) => PresentedSecret::Digest(PasswordDigest::from_bytes(digest_proof.digest)),
    };
    let verified = match account.filter(|account| verifier::is_pending(&account.credential.verifier)) {
        Some(account) => deps.hasher.verify_pending(credential::open_pending(deps, account).await?, secret).await?,
        None => deps.hasher.verify(account.map(|account| account.credential.verifier.clone()), secret).await?,
    };
    // An empty password costs a hash and never matches, even an imported hash of the empty password.
    let is_empty = matches!(proof, Proof::Raw(raw) if raw.is_empty());
    Ok(if verified && !is_empty { ProofMatch::PasswordHash } else { ProofMatch::NoMatch })
}

/// Whether a salted proof matches the account's sealed digest. Without an account or a sealed digest, returns `false`
/// after the same work.
pub(super) async fn verify_salted(deps: &Dependencies, account: Option<&Account>, salted: SaltedProof) -> Result<bool> {
    let sealed = account
        .filter(|account| deps.salted_logins_enabled() && verifier::has_sealed_digest(&account.credential.verifier))
        .and_then(|account| Some((account, account.credential.sealed.as_ref()?)));
    let opened = match sealed {
        // A missing or wrong key is an internal error and not a wrong password, because the password may be correct.
        Some((account, sealed)) => deps.open(&credential::seal_context(account.user.id), sealed).await?,
        None => deps.sealer.open_dummy(),
    };
    let bytes: [u8; 16] = opened.as_slice().try_into().map_err(Error::internal)?;
    let is_match = PasswordDigest::from_bytes(bytes).matches_proof(&salted);
    Ok(is_match && sealed.is_some())
}

/// The record of a salted proof for replay protection. `owner` is the user's id.
pub(super) fn to_used_proof(deps: &Dependencies, owner: &[u8; 16], salted: SaltedProof, now: Timestamp) -> UsedProof {
    // The key starts with the timestamp, so that an ordered store has the proofs of one time on a few pages. User and
    // digest alone identify a proof: a correct digest belongs to one timestamp text, and all candidate texts of a
    // timestamp have the same integer. Earlier versions stored the same keys.
    let hash = sha256(&[owner.as_slice(), &salted.digest].concat());
    let mut key = [0; 32];
    key[..8].copy_from_slice(&salted.timestamp.integer().to_be_bytes());
    key[8..].copy_from_slice(&hash[..24]);
    let expires = match deps.policy.max_clock_skew {
        // One second is added because timestamps are whole seconds.
        Some(skew) => salted.made_at().saturating_add(skew + std::time::Duration::from_secs(1) + MAX_CLOCK_SETBACK),
        None => now.saturating_add(deps.policy.replay_retention),
    };
    UsedProof { key, expires }
}

/// Rehash on login. A failure is only logged, because the next login tries again.
async fn rehash_on_login(deps: &Dependencies, account: &Account, proof: &Proof, proof_match: ProofMatch) {
    let secret = match (proof, proof_match) {
        (Proof::Raw(raw), _) => PresentedSecret::Raw(raw.clone()),
        (Proof::Digest(digest), _) => PresentedSecret::Digest(digest.clone()),
        (Proof::SaltedOrDigest(digest_proof), ProofMatch::PasswordHash) => {
            PresentedSecret::Digest(PasswordDigest::from_bytes(digest_proof.digest))
        }
        // A salted proof has matched the sealed digest, so the digest is sealed, and the verifier cannot be checked.
        (Proof::Salted(_) | Proof::SaltedOrDigest(_), _) => return,
    };
    if let Err(error) = credential::rehash_on_login(deps, account, &secret).await {
        tracing::warn!(cause = %error, "cannot upgrade a credential; the user's next login tries again");
    }
}
