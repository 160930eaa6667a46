//! Verification codes, and what a guess at one or at a password brings about.

use diesel::prelude::*;
use stele_core::code::CodeKey;
use stele_core::ports::{
    AttemptOutcome, CodeVerification, CodeVerificationResult, LoginAttempt, NewCode, OnCodeMatch, OriginTrustChange,
    ProofResult,
};
use stele_core::rate_limit::{AttemptDecision, ProofUse};
use stele_core::rate_limit_key::{LoginAttemptKeys, RateLimitKey, rate_limit_key};
use stele_core::time::Timestamp;
use subtle::ConstantTimeEq;

use super::rate_limit::{self, AttemptFacts, StoredRateLimits};
use super::schema::{codes, replays};
use super::sessions;

/// Books an attempt to log in. Everything is asked before anything is written: this job has the write lock.
pub(super) fn record_login_attempt(
    conn: &mut SqliteConnection,
    attempt: &LoginAttempt,
    verdict: &ProofResult,
) -> QueryResult<AttemptOutcome> {
    let (replay, repeat, opened, origin) = match verdict {
        ProofResult::Valid(success) => (
            success.used_proof.as_ref(),
            success.repeat_permit.as_ref(),
            success.session.as_ref(),
            success.origin_trust,
        ),
        ProofResult::Invalid => (None, None, None, OriginTrustChange::Keep),
    };
    let mark = replay.map_or(&[][..], |mark| mark.key.as_slice());
    let keys = LoginAttemptKeys::for_attempt(attempt);
    let facts = AttemptFacts::load(conn, attempt, &keys, mark, opened)?;
    let standing = StoredRateLimits::load_with_facts(&facts, conn, attempt, &keys)?;
    let used = facts.replayed || repeat.is_some_and(|permit| permit.required);
    let repeated = match repeat {
        Some(permit) if used => is_replay_key_live(conn, &permit.key, attempt.now)?,
        Some(_) | None => false,
    };
    let take_code = |code: &CodeKey| consume_code(conn, code, attempt.now);
    let proof_use = if used && !repeated { ProofUse::Replayed } else { ProofUse::First };
    match standing.state.decide_attempt(attempt, verdict, facts.birth, proof_use, take_code)? {
        AttemptDecision::Reject(settlement) => return Ok(settlement),
        AttemptDecision::CountFailure => {
            standing.record_failure(conn)?;
            return Ok(AttemptOutcome::Recorded);
        }
        AttemptDecision::Accept => {}
    }
    if let Some(mark) = replay {
        store_replay_key(conn, &mark.key, mark.expires)?;
    }
    if let Some(permit) = repeat {
        match repeated {
            true => diesel::delete(replays::table.find(permit.key.as_slice())).execute(conn).map(drop)?,
            false => store_replay_key(conn, &permit.key, permit.expires)?,
        }
    }
    if origin == OriginTrustChange::Trust {
        standing.clear_own_failures(conn)?;
        if facts.trusted_until < attempt.limits.renew_trusted_origin_before(attempt.now) {
            rate_limit::trust_origin(conn, attempt, &keys)?;
        }
    }
    if let Some(new) = opened {
        sessions::store_session(conn, new)?;
        if facts.at_session_limit {
            sessions::end_excess_sessions(conn, new)?;
        }
    }
    Ok(AttemptOutcome::Recorded)
}

/// Whether a mark or a permit is there that has not expired.
fn is_replay_key_live(conn: &mut SqliteConnection, key: &[u8; 32], now: Timestamp) -> QueryResult<bool> {
    let live = replays::table.find(key.as_slice()).filter(replays::expires.gt(now.as_micros()));
    diesel::select(diesel::dsl::exists(live)).get_result(conn)
}

fn store_replay_key(conn: &mut SqliteConnection, key: &[u8; 32], expires: Timestamp) -> QueryResult<()> {
    let row = (replays::key.eq(key.as_slice()), replays::expires.eq(expires.as_micros()));
    diesel::replace_into(replays::table).values(row).execute(conn).map(drop)
}

/// What a code is stored under.
fn code_storage_key(key: &CodeKey) -> RateLimitKey {
    rate_limit_key("code", key.as_str())
}

/// Uses a code up; `false` if there is none.
fn consume_code(conn: &mut SqliteConnection, key: &CodeKey, now: Timestamp) -> QueryResult<bool> {
    let key = code_storage_key(key);
    let live = codes::table.find(key.as_slice()).filter(codes::expires.gt(now.as_micros()));
    Ok(diesel::delete(live).execute(conn)? > 0)
}

/// Checks a guess at a code and books it.
pub(super) fn check_code_guess(
    conn: &mut SqliteConnection,
    attempt: &LoginAttempt,
    guess: &CodeVerification,
) -> QueryResult<CodeVerificationResult> {
    let now = attempt.now;
    let standing = StoredRateLimits::load(conn, attempt)?;
    if let Some(retry_after) = standing.state.retry_after() {
        return Ok(CodeVerificationResult::RateLimited { retry_after });
    }
    let max_tries = i64::from(guess.max_attempts);
    let (mut right, mut live) = (None, Vec::new());
    for (index, (key, tag)) in guess.candidates.iter().enumerate() {
        let key = code_storage_key(key);
        let row = codes::table
            .find(key.as_slice())
            .filter(codes::expires.gt(now.as_micros()))
            .filter(codes::epoch.eq(guess.epoch))
            .filter(codes::tries.lt(max_tries))
            .select((codes::tag, codes::tries))
            .get_result::<(Vec<u8>, i64)>(conn)
            .optional()?;
        if let Some((stored, tries)) = row {
            if bool::from(stored.as_slice().ct_eq(tag.as_slice())) {
                right = right.or(Some(index));
            }
            live.push((key, tries + 1));
        }
    }
    if let Some(index) = right {
        if guess.on_match == OnCodeMatch::Consume {
            let key = code_storage_key(&guess.candidates[index].0);
            diesel::delete(codes::table.find(key.as_slice())).execute(conn)?;
            standing.clear_own_failures(conn)?;
        }
        return Ok(CodeVerificationResult::Valid(index));
    }
    for (key, tries) in live {
        let row = codes::table.find(key.as_slice());
        if tries >= max_tries {
            diesel::delete(row).execute(conn)?;
        } else {
            diesel::update(row).set(codes::tries.eq(tries)).execute(conn)?;
        }
    }
    standing.record_failure(conn)?;
    Ok(CodeVerificationResult::Invalid)
}

/// Keeps a code, in place of an older one.
pub(super) fn store_code(conn: &mut SqliteConnection, code: &NewCode) -> QueryResult<()> {
    let key = code_storage_key(&code.key);
    let row = (
        codes::key.eq(key.as_slice()),
        codes::tag.eq(code.tag.as_slice()),
        codes::epoch.eq(code.epoch),
        codes::tries.eq(0),
        codes::expires.eq(code.expires.as_micros()),
    );
    diesel::replace_into(codes::table).values(row).execute(conn).map(drop)
}
