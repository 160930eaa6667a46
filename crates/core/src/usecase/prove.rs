//! The heart of every login: limits, freshness, the proof itself, replay, and the booking of it all.
//!
//! The order of checks is DESIGN's: readable, within the limits, fresh, right, not replayed, enabled. A salted proof
//! is cheap to check, so it is checked first and the limits are asked in the one trip that books the outcome; what
//! was found is then thrown away if they refuse. A proof that costs a hash asks the limits before it pays.

use super::credential;
use crate::mac::sha256;
use crate::password::PasswordDigest;
use crate::ports::{Admission, Attempt, ReplayMark, Settlement, Success, Verdict};
use crate::proof::{Proof, ProofKind, Salted};
use crate::user::Account;
use crate::verifier::Secret;
use crate::{Deps, Error, Result};

/// For how long a proof is remembered beyond the time that it is fresh: a clock that is set back by an hour, to where
/// the proof is fresh once more, does not make it good once more. See `docs/adr/0011-a-clock-that-is-set.md`.
const CLOCK_STEP: std::time::Duration = std::time::Duration::from_secs(70 * 60);

/// A proof to be checked against an account.
pub(super) struct Claim<'a> {
    /// The account; `None` costs as much and is always wrong.
    pub account: Option<&'a Account>,
    /// What it is counted by.
    pub attempt: Attempt,
    /// The proof.
    pub proof: &'a Proof,
    /// Whether this user may use this door at all; `false` is told as a wrong password.
    pub admitted: bool,
    /// Whether the limits were asked already.
    pub asked: bool,
}

/// Checks and books a proof. `Ok` means that it is right, was not used before, and `success` was booked with it; it says
/// what the proof was made of.
///
/// # Errors
/// `TooMany`, `Stale`, `UnknownUser` (no account), `WrongPassword`, `Replayed`, `ChallengeFailed` (the code that
/// `success` uses up is gone), `Disabled`; `Busy` and faults of ours.
pub(super) async fn prove(
    deps: &Deps,
    claim: Claim<'_>,
    success: impl FnOnce(&Account) -> Success,
) -> Result<ProofKind> {
    let Claim { account, mut attempt, proof, admitted, asked } = claim;
    let salted = proof.salted();
    let fresh = salted.is_none_or(|salted| is_fresh(deps, salted, attempt.now.as_secs()));
    let asks = !asked && (proof.is_costly() || !fresh);
    if asks {
        admit(deps, &attempt).await?;
    }
    let asked = asked || asks;
    if !fresh {
        return Err(Error::Stale);
    }
    attempt.proof_made = salted.filter(|_| deps.policy.skew.is_some()).map(|salted| salted.made_at());

    let right = check(deps, account, proof).await?;
    let proven = account.filter(|_| right.is_some() && admitted);
    let as_digest = right == Some(None);
    let as_salted = right.is_some() && !as_digest;
    let replay = proven.zip(right.flatten()).map(|(account, salted)| replay_mark(deps, account, salted, attempt.now));
    // The short-lived store's mark is made and looked at as well: it holds what earlier versions accepted.
    let used = replay.clone().filter(|_| deps.policy.skew.is_none());
    if let Some(mark) = &used {
        use_for_good(deps, &attempt, asked, mark).await?;
    }
    let verdict = match proven {
        None => Verdict::Wrong,
        Some(account) => {
            let booked = if account.user.disabled { Success::default() } else { success(account) };
            Verdict::Right(Box::new(Success { replay, ..booked }))
        }
    };
    let settlement = deps.state.settle(&attempt, &verdict).await?;
    if let (Settlement::Blocked { .. } | Settlement::CodeGone, Some(mark)) = (settlement, used) {
        release(deps, &mark).await;
    }
    match (settlement, proven) {
        (Settlement::Blocked { retry_after }, _) => Err(Error::TooMany { retry_after }),
        (Settlement::Stale, _) => Err(Error::Stale),
        (Settlement::Replayed, _) => Err(Error::Replayed),
        (Settlement::CodeGone, _) => Err(Error::ChallengeFailed),
        (Settlement::Done, None) if account.is_none() => Err(Error::UnknownUser),
        (Settlement::Done, None) => Err(Error::WrongPassword),
        (Settlement::Done, Some(account)) if account.user.disabled => Err(Error::Disabled),
        (Settlement::Done, Some(account)) => {
            if as_salted {
                deps.salted_logins.note(account, deps.now());
            }
            upgrade(deps, account, proof, as_digest).await;
            Ok(match proof.kind() {
                ProofKind::Either if as_digest => ProofKind::Digest,
                ProofKind::Either => ProofKind::Salted,
                plain => plain,
            })
        }
    }
}

/// Remembers a right proof that need not be fresh in the users' database: the short-lived store may be emptied, and then
/// nothing else distinguishes the proof from a replay. What the limits refuse is not used up.
async fn use_for_good(deps: &Deps, attempt: &Attempt, asked: bool, mark: &ReplayMark) -> Result<()> {
    if !asked {
        admit(deps, attempt).await?;
    }
    if deps.users.use_proof(mark).await? { Ok(()) } else { Err(Error::Replayed) }
}

/// Gives a proof back that was used up and then refused for another reason. If that fails, the client needs another one.
async fn release(deps: &Deps, mark: &ReplayMark) {
    if let Err(cause) = deps.users.release_proof(mark).await {
        tracing::warn!(%cause, "a proof that was refused stays used up");
    }
}

/// Checks the limits; returns the failures so far in the budget that applies.
pub(super) async fn admit(deps: &Deps, attempt: &Attempt) -> Result<u32> {
    match deps.state.admit(attempt).await? {
        Admission::Open { failures, .. } => Ok(failures),
        Admission::Blocked { retry_after } => Err(Error::TooMany { retry_after }),
    }
}

fn is_fresh(deps: &Deps, salted: Salted, now_secs: i64) -> bool {
    deps.policy.skew.is_none_or(|skew| salted.made_at().as_secs().abs_diff(now_secs) <= skew.as_secs())
}

/// Whether the proof is right, and if so, the salted proof it was (which must not be accepted again).
async fn check(deps: &Deps, account: Option<&Account>, proof: &Proof) -> Result<Option<Option<Salted>>> {
    let stored = || account.map(|account| account.credential.verifier.clone());
    let hashed = |secret| async { Ok::<_, Error>(deps.hasher.verify(stored(), secret).await?.then_some(None)) };
    match proof {
        Proof::Raw(raw) => hashed(Secret::Raw(raw.clone())).await,
        Proof::Digest(digest) => hashed(Secret::Digest(digest.clone())).await,
        Proof::Salted(salted) => Ok(check_salted(deps, account, *salted).await?.then_some(Some(*salted))),
        Proof::Either(salted) => {
            if check_salted(deps, account, *salted).await? {
                return Ok(Some(Some(*salted)));
            }
            hashed(Secret::Digest(PasswordDigest::from_bytes(salted.digest))).await
        }
    }
}

async fn check_salted(deps: &Deps, account: Option<&Account>, salted: Salted) -> Result<bool> {
    let sealed = account.filter(|_| deps.salted()).and_then(|a| Some((a, a.credential.sealed.as_ref()?)));
    let opened = match sealed {
        // A key that is missing or wrong is our fault; the user's password may well be right.
        Some((account, sealed)) => deps.open(&credential::seal_context(account.user.id), sealed).await?,
        None => deps.sealer.open_decoy(),
    };
    let bytes: [u8; 16] = opened.as_slice().try_into().map_err(Error::internal)?;
    let proves = PasswordDigest::from_bytes(bytes).proves(&salted.digest, salted.timestamp);
    Ok(proves && sealed.is_some())
}

fn replay_mark(deps: &Deps, account: &Account, salted: Salted, now: crate::time::Timestamp) -> ReplayMark {
    // The proof's time is in front of it, so that those of one time are stored side by side: a store that keeps its rows
    // in order has them in a page or two, and not one in each. It is no part of what tells proofs apart.
    let hash = sha256(&[account.user.id.as_bytes().as_slice(), &salted.digest].concat());
    let mut key = [0; 32];
    key[..8].copy_from_slice(&salted.timestamp.to_be_bytes());
    key[8..].copy_from_slice(&hash[..24]);
    let expires = match deps.policy.skew {
        // One second more, for the timestamp is in whole seconds.
        Some(skew) => salted.made_at().after(skew + std::time::Duration::from_secs(1) + CLOCK_STEP),
        None => now.after(deps.policy.replay_memory),
    };
    ReplayMark { key, expires }
}

/// A login must not fail because its upgrade does: the next one tries again.
async fn upgrade(deps: &Deps, account: &Account, proof: &Proof, as_digest: bool) {
    let secret = match proof {
        Proof::Raw(raw) => Secret::Raw(raw.clone()),
        Proof::Digest(digest) => Secret::Digest(digest.clone()),
        Proof::Either(either) if as_digest => Secret::Digest(PasswordDigest::from_bytes(either.digest)),
        // D is sealed already, or this proof could not have been right.
        Proof::Salted(_) | Proof::Either(_) => return,
    };
    if let Err(cause) = credential::upgrade(deps, account, &secret).await {
        tracing::warn!(%cause, "a credential could not be upgraded");
    }
}
