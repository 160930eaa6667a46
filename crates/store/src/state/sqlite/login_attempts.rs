//! Login attempts and verification codes in SQLite: replay protection, failure counting, and one-time use of codes.

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

/// Records a login attempt: see [`stele_core::ports::StateStore::record_login_attempt`]. All reads precede all writes;
/// the job's write lock prevents changes in between.
pub(super) fn record_login_attempt(
    conn: &mut SqliteConnection,
    attempt: &LoginAttempt,
    proof: &ProofResult,
) -> QueryResult<AttemptOutcome> {
    let (used_proof, repeat_permit, new_session, origin_trust) = match proof {
        ProofResult::Valid(success) => (
            success.used_proof.as_ref(),
            success.repeat_permit.as_ref(),
            success.session.as_ref(),
            success.origin_trust,
        ),
        ProofResult::Invalid => (None, None, None, OriginTrustChange::Keep),
    };
    let replay_key = used_proof.map_or(&[][..], |used_proof| used_proof.key.as_slice());
    let keys = LoginAttemptKeys::for_attempt(attempt);
    let facts = AttemptFacts::load(conn, attempt, &keys, replay_key, new_session)?;
    let rate_limits = StoredRateLimits::load_with_facts(&facts, conn, attempt, &keys)?;
    let used_before = facts.is_replayed || repeat_permit.is_some_and(|permit| permit.is_required);
    let permitted_repeat = match repeat_permit {
        Some(permit) if used_before => is_replay_key_live(conn, &permit.key, attempt.now)?,
        Some(_) | None => false,
    };
    let proof_use = if used_before && !permitted_repeat { ProofUse::Replayed } else { ProofUse::First };
    let take_code = |code: &CodeKey| consume_code(conn, code, attempt.now);
    match rate_limits.state.decide_attempt(attempt, proof, facts.birth, proof_use, take_code)? {
        AttemptDecision::Reject(outcome) => return Ok(outcome),
        AttemptDecision::CountFailure => {
            rate_limits.record_failure(conn)?;
            return Ok(AttemptOutcome::Recorded);
        }
        AttemptDecision::Accept => {}
    }
    if let Some(used_proof) = used_proof {
        store_replay_key(conn, &used_proof.key, used_proof.expires)?;
    }
    if let Some(permit) = repeat_permit {
        if permitted_repeat {
            diesel::delete(replays::table.find(permit.key.as_slice())).execute(conn)?;
        } else {
            store_replay_key(conn, &permit.key, permit.expires)?;
        }
    }
    if origin_trust == OriginTrustChange::Trust {
        rate_limits.clear_own_failures(conn)?;
        if facts.trusted_until < attempt.limits.renew_trusted_origin_before(attempt.now) {
            rate_limit::trust_origin(conn, attempt, &keys)?;
        }
    }
    if let Some(new) = new_session {
        sessions::store_session(conn, new)?;
        if facts.is_at_session_limit {
            sessions::end_excess_sessions(conn, new)?;
        }
    }
    Ok(AttemptOutcome::Recorded)
}

/// Whether a used proof or a repeat permit with this key is stored and has not expired.
fn is_replay_key_live(conn: &mut SqliteConnection, key: &[u8; 32], now: Timestamp) -> QueryResult<bool> {
    let live = replays::table.find(key.as_slice()).filter(replays::expires.gt(now.as_micros()));
    diesel::select(diesel::dsl::exists(live)).get_result(conn)
}

fn store_replay_key(conn: &mut SqliteConnection, key: &[u8; 32], expires: Timestamp) -> QueryResult<()> {
    let row = (replays::key.eq(key.as_slice()), replays::expires.eq(expires.as_micros()));
    diesel::replace_into(replays::table).values(row).execute(conn).map(drop)
}

/// The key of a code's row.
fn code_storage_key(key: &CodeKey) -> RateLimitKey {
    rate_limit_key("code", key.as_str())
}

/// Deletes a code; `false` if it is missing or expired.
fn consume_code(conn: &mut SqliteConnection, key: &CodeKey, now: Timestamp) -> QueryResult<bool> {
    let key = code_storage_key(key);
    let live = codes::table.find(key.as_slice()).filter(codes::expires.gt(now.as_micros()));
    Ok(diesel::delete(live).execute(conn)? > 0)
}

/// Checks a guess at a verification code and records it: see [`stele_core::ports::StateStore::verify_code`].
pub(super) fn verify_code(
    conn: &mut SqliteConnection,
    attempt: &LoginAttempt,
    guess: &CodeVerification,
) -> QueryResult<CodeVerificationResult> {
    let now = attempt.now;
    let rate_limits = StoredRateLimits::load(conn, attempt)?;
    if let Some(retry_after) = rate_limits.state.retry_after() {
        return Ok(CodeVerificationResult::RateLimited { retry_after });
    }
    let max_attempts = i64::from(guess.max_attempts);
    let (mut matching, mut live) = (None, Vec::new());
    for (index, (key, tag)) in guess.candidates.iter().enumerate() {
        let key = code_storage_key(key);
        let row = codes::table
            .find(key.as_slice())
            .filter(codes::expires.gt(now.as_micros()))
            .filter(codes::epoch.eq(guess.epoch))
            .filter(codes::tries.lt(max_attempts))
            .select((codes::tag, codes::tries))
            .get_result::<(Vec<u8>, i64)>(conn)
            .optional()?;
        if let Some((stored, tries)) = row {
            if bool::from(stored.as_slice().ct_eq(tag.as_slice())) {
                matching = matching.or(Some(index));
            }
            live.push((key, tries + 1));
        }
    }
    if let Some(index) = matching {
        if guess.on_match == OnCodeMatch::Consume {
            let key = code_storage_key(&guess.candidates[index].0);
            diesel::delete(codes::table.find(key.as_slice())).execute(conn)?;
            rate_limits.clear_own_failures(conn)?;
        }
        return Ok(CodeVerificationResult::Valid(index));
    }
    for (key, tries) in live {
        let row = codes::table.find(key.as_slice());
        if tries >= max_attempts {
            diesel::delete(row).execute(conn)?;
        } else {
            diesel::update(row).set(codes::tries.eq(tries)).execute(conn)?;
        }
    }
    rate_limits.record_failure(conn)?;
    Ok(CodeVerificationResult::Invalid)
}

/// Stores a code and replaces an older one with the same key.
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
