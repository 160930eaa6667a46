//! The heart of every login: limits, freshness, the proof itself, replay, and the booking of it all.
//!
//! Order of checks (`docs/PROTOCOLS.md`, "Common readings"): readable, within the limits, fresh, right, not replayed,
//! enabled. A salted proof is cheap to check, so it is checked first and the limits are asked in the one trip that
//! books the outcome; what was found is then thrown away if they refuse. A proof that costs a hash asks the limits
//! before it pays.

use super::login::Audience;
use super::{clock_offset, credential};
use crate::mac::sha256;
use crate::password::PasswordDigest;
use crate::ports::{Admission, Attempt, RepeatPermit, ReplayMark, Settlement, Success, Verdict};
use crate::proof::{Proof, ProofKind, Salted};
use crate::session::Dialect;
use crate::time::Timestamp;
use crate::user::Account;
use crate::verifier::Secret;
use crate::{Deps, Error, Result};

/// For how long a proof is remembered beyond the time that it is fresh: a clock that is set back by an hour, to where
/// the proof is fresh once more, does not make it good once more.
/// See `docs/adr/0011-retain-replay-marks-70-minutes-beyond-freshness.md`.
const CLOCK_STEP: std::time::Duration = std::time::Duration::from_secs(70 * 60);

/// A proof to be checked against an account.
pub(super) struct Claim<'a> {
    /// The account; `None` costs as much and is always wrong.
    pub account: Option<Account>,
    /// What it is counted by.
    pub attempt: Attempt,
    /// The proof.
    pub proof: &'a Proof,
    /// Who may use this door; for others the proof is wrong.
    pub audience: Audience,
    /// Whether the rate limits were checked already.
    pub limit_check: LimitCheck,
    /// Whether the same proof is good once more within [`Policy::repeat_window`].
    ///
    /// [`Policy::repeat_window`]: crate::policy::Policy::repeat_window
    pub repeats: Repeats,
}

/// Whether a proof may be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeats {
    /// It may not: what it does is not done twice.
    Never,
    /// It may, in this dialect: a login.
    In(Dialect),
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
pub(super) struct Proven<T> {
    /// Whose password it proves.
    pub account: Account,
    /// What it was made of.
    pub kind: ProofKind,
    /// What was made for it.
    pub granted: T,
}

/// What the stored credential says of a proof.
#[derive(Clone, Copy)]
enum Match {
    /// It does not match.
    No,
    /// The password hash matches.
    Hash,
    /// It is the digest salted; as such it must not be accepted again.
    Salted(Salted),
}

/// Checks and books a proof, together with the success that `grant` makes for its account.
///
/// # Errors
/// `TooMany`, `Stale`, `UnknownUser` (no account), `WrongPassword`, `Replayed`, `ChallengeFailed` (the code that the
/// success uses up is gone), `Disabled`; `Busy` and faults of ours.
pub(super) async fn prove<T>(
    deps: &Deps,
    claim: Claim<'_>,
    grant: impl FnOnce(&Account) -> (Success, T),
) -> Result<Proven<T>> {
    let Claim { account, mut attempt, proof, audience, mut limit_check, repeats } = claim;
    let salted = proof.salted();
    let fresh = salted.is_none_or(|salted| is_fresh(deps, salted, attempt.now.as_secs()));
    if limit_check == LimitCheck::Pending && (proof.is_costly() || !fresh) {
        admit(deps, &attempt).await?;
        limit_check = LimitCheck::Passed;
    }
    if let Some(stale) = salted.filter(|_| !fresh) {
        clock_offset::log(deps, account.as_ref(), stale, attempt.now).await;
        return Err(Error::Stale);
    }
    attempt.proof_made = salted.filter(|_| deps.policy.skew.is_some()).map(|salted| salted.made_at());

    let matched = check(deps, account.as_ref(), proof).await?;
    let (mut verdict, judged) = judge(deps, account, matched, audience, attempt.now, grant);
    let used = match &mut verdict {
        Verdict::Right(success) => {
            // Without a session (a disabled user) there is no permit: the proof is used up all the same.
            let mark = success.replay.as_ref().filter(|_| success.session.is_some());
            success.repeat = mark.and_then(|mark| permit(deps, mark, repeats, audience, &attempt));
            // The short-lived store's mark is made and looked at as well: it holds what earlier versions accepted.
            match deps.policy.skew {
                Some(_) => None,
                None => use_for_good(deps, &attempt, limit_check, success).await?,
            }
        }
        Verdict::Wrong => None,
    };
    let settlement = deps.state.settle(&attempt, &verdict).await?;
    if let (Settlement::Blocked { .. } | Settlement::CodeGone, Some(mark)) = (settlement, used) {
        release(deps, &mark).await;
    }
    match settlement {
        Settlement::Blocked { retry_after } => return Err(Error::TooMany { retry_after }),
        Settlement::Stale => return Err(Error::Stale),
        Settlement::Replayed => return Err(Error::Replayed),
        Settlement::CodeGone => return Err(Error::ChallengeFailed),
        Settlement::Done => {}
    }
    let (account, granted) = judged?;
    if matches!(matched, Match::Salted(_)) {
        deps.salted_logins.note(&account, deps.now());
    }
    upgrade(deps, &account, proof, matched).await;
    let kind = match (proof.kind(), matched) {
        (ProofKind::Either, Match::Salted(_)) => ProofKind::Salted,
        (ProofKind::Either, _) => ProofKind::Digest,
        (plain, _) => plain,
    };
    Ok(Proven { account, kind, granted })
}

/// What the stores are to book, and what the caller gets if they do.
fn judge<T>(
    deps: &Deps,
    account: Option<Account>,
    matched: Match,
    audience: Audience,
    now: Timestamp,
    grant: impl FnOnce(&Account) -> (Success, T),
) -> (Verdict, Result<(Account, T)>) {
    let Some(account) = account else { return (Verdict::Wrong, Err(Error::UnknownUser)) };
    let replay = match matched {
        _ if !audience.admits(&account.user) => return (Verdict::Wrong, Err(Error::WrongPassword)),
        Match::No => return (Verdict::Wrong, Err(Error::WrongPassword)),
        Match::Hash => None,
        Match::Salted(salted) => Some(replay_mark(deps, &account, salted, now)),
    };
    let right = |success| Verdict::Right(Box::new(Success { replay, ..success }));
    if account.user.disabled {
        return (right(Success::default()), Err(Error::Disabled));
    }
    let (success, granted) = grant(&account);
    (right(success), Ok((account, granted)))
}

/// Remembers a right proof that need not be fresh in the users' database: the short-lived store may be emptied, and then
/// nothing else distinguishes the proof from a replay. What the limits refuse is not used up. Gives the mark, if it was made
/// now; if the proof was used before, `success` needs a permit.
async fn use_for_good(
    deps: &Deps,
    attempt: &Attempt,
    limit_check: LimitCheck,
    success: &mut Success,
) -> Result<Option<ReplayMark>> {
    let Some(mark) = &success.replay else { return Ok(None) };
    if limit_check == LimitCheck::Pending {
        admit(deps, attempt).await?;
    }
    if deps.users.use_proof(mark).await? {
        return Ok(Some(mark.clone()));
    }
    let permit = success.repeat.as_mut().ok_or(Error::Replayed)?;
    permit.needed = true;
    Ok(None)
}

/// The permit to repeat a proof at the same door, if there are any.
fn permit(deps: &Deps, mark: &ReplayMark, repeats: Repeats, door: Audience, attempt: &Attempt) -> Option<RepeatPermit> {
    let window = deps.policy.repeat_window;
    let Repeats::In(dialect) = repeats else { return None };
    let name = format!("\0repeat\0{dialect}\0{door:?}\0{}", attempt.origin);
    let key = sha256(&[mark.key.as_slice(), name.as_bytes()].concat());
    (!window.is_zero()).then(|| RepeatPermit { key, expires: attempt.now.after(window), needed: false })
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

/// Compares the proof with the account's credential.
async fn check(deps: &Deps, account: Option<&Account>, proof: &Proof) -> Result<Match> {
    let secret = match proof {
        Proof::Raw(raw) => Secret::Raw(raw.clone()),
        Proof::Digest(digest) => Secret::Digest(digest.clone()),
        Proof::Salted(salted) | Proof::Either(salted) if check_salted(deps, account, *salted).await? => {
            return Ok(Match::Salted(*salted));
        }
        Proof::Salted(_) => return Ok(Match::No),
        Proof::Either(other) => Secret::Digest(PasswordDigest::from_bytes(other.digest)),
    };
    let stored = account.map(|account| account.credential.verifier.clone());
    let verified = deps.hasher.verify(stored, secret).await?;
    // An empty password costs a hash and is never right, whatever hash was imported.
    let is_empty = matches!(proof, Proof::Raw(raw) if raw.is_empty());
    Ok(if verified && !is_empty { Match::Hash } else { Match::No })
}

pub(super) async fn check_salted(deps: &Deps, account: Option<&Account>, salted: Salted) -> Result<bool> {
    let sealed = account.filter(|_| deps.salted()).and_then(|a| Some((a, a.credential.sealed.as_ref()?)));
    let opened = match sealed {
        // A key that is missing or wrong is our fault; the user's password may well be right.
        Some((account, sealed)) => deps.open(&credential::seal_context(account.user.id), sealed).await?,
        None => deps.sealer.open_decoy(),
    };
    let bytes: [u8; 16] = opened.as_slice().try_into().map_err(Error::internal)?;
    let proves = PasswordDigest::from_bytes(bytes).proves(&salted);
    Ok(proves && sealed.is_some())
}

fn replay_mark(deps: &Deps, account: &Account, salted: Salted, now: Timestamp) -> ReplayMark {
    // The proof's time is in front of it, so that those of one time are stored side by side: a store that keeps its rows
    // in order has them in a page or two, and not one in each. It is no part of what distinguishes proofs: a digest that is
    // right belongs to one text, and all writings of a timestamp that can lead to it are of one whole number, by which
    // earlier versions kept them too.
    let hash = sha256(&[account.user.id.as_bytes().as_slice(), &salted.digest].concat());
    let mut key = [0; 32];
    key[..8].copy_from_slice(&salted.timestamp.whole().to_be_bytes());
    key[8..].copy_from_slice(&hash[..24]);
    let expires = match deps.policy.skew {
        // One second more, for the timestamp is in whole seconds.
        Some(skew) => salted.made_at().after(skew + std::time::Duration::from_secs(1) + CLOCK_STEP),
        None => now.after(deps.policy.replay_memory),
    };
    ReplayMark { key, expires }
}

/// A login must not fail because its upgrade does: the next one tries again.
async fn upgrade(deps: &Deps, account: &Account, proof: &Proof, matched: Match) {
    let secret = match (proof, matched) {
        (Proof::Raw(raw), _) => Secret::Raw(raw.clone()),
        (Proof::Digest(digest), _) => Secret::Digest(digest.clone()),
        (Proof::Either(either), Match::Hash) => Secret::Digest(PasswordDigest::from_bytes(either.digest)),
        // D is sealed already, or this proof could not have been right.
        (Proof::Salted(_) | Proof::Either(_), _) => return,
    };
    if let Err(cause) = credential::upgrade(deps, account, &secret).await {
        tracing::warn!(%cause, "a credential could not be upgraded");
    }
}
