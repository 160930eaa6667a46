//! Verification codes, and what a guess at one or at a password brings about.

use diesel::prelude::*;
use stele_core::code::CodeKey;
use stele_core::limit_key::{AttemptKeys, LimitKey, limit_key};
use stele_core::ports::{Attempt, CodeCheck, CodeGuess, CodeUse, NewCode, OriginTrust, Settlement, Verdict};
use stele_core::rate_limit::Decision;
use stele_core::time::Timestamp;
use subtle::ConstantTimeEq;

use super::limits::{self, Facts, Standing};
use super::schema::{codes, replays};
use super::sessions;

/// Books an attempt to log in. Everything is asked before anything is written: this job has the write lock.
pub(super) fn settle(conn: &mut SqliteConnection, attempt: &Attempt, verdict: &Verdict) -> QueryResult<Settlement> {
    let (replay, repeat, opened, origin) = match verdict {
        Verdict::Right(success) => {
            (success.replay.as_ref(), success.repeat.as_ref(), success.session.as_ref(), success.origin_trust)
        }
        Verdict::Wrong => (None, None, None, OriginTrust::Unchanged),
    };
    let mark = replay.map_or(&[][..], |mark| mark.key.as_slice());
    let keys = AttemptKeys::of(attempt);
    let facts = Facts::load(conn, attempt, &keys, mark, opened)?;
    let standing = Standing::given(&facts, conn, attempt, &keys)?;
    let used = facts.replayed || repeat.is_some_and(|permit| permit.needed);
    let repeated = match repeat {
        Some(permit) if used => is_noted(conn, &permit.key, attempt.now)?,
        Some(_) | None => false,
    };
    let take_code = |code: &CodeKey| take(conn, code, attempt.now);
    match standing.state.decide(attempt, verdict, facts.birth, used && !repeated, take_code)? {
        Decision::Refuse(settlement) => return Ok(settlement),
        Decision::CountFailure => {
            standing.fail(conn)?;
            return Ok(Settlement::Done);
        }
        Decision::Accept => {}
    }
    if let Some(mark) = replay {
        note_until(conn, &mark.key, mark.expires)?;
    }
    if let Some(permit) = repeat {
        match repeated {
            true => diesel::delete(replays::table.find(permit.key.as_slice())).execute(conn).map(drop)?,
            false => note_until(conn, &permit.key, permit.expires)?,
        }
    }
    if origin == OriginTrust::Trusted {
        standing.forgive(conn)?;
        if facts.known_until < attempt.limits.renew_known_before(attempt.now) {
            limits::know(conn, attempt, &keys)?;
        }
    }
    if let Some(new) = opened {
        sessions::put(conn, new)?;
        if facts.crowded {
            sessions::make_room(conn, new)?;
        }
    }
    Ok(Settlement::Done)
}

/// Whether a mark or a permit is there that has not expired.
fn is_noted(conn: &mut SqliteConnection, key: &[u8; 32], now: Timestamp) -> QueryResult<bool> {
    let live = replays::table.find(key.as_slice()).filter(replays::expires.gt(now.as_micros()));
    diesel::select(diesel::dsl::exists(live)).get_result(conn)
}

fn note_until(conn: &mut SqliteConnection, key: &[u8; 32], expires: Timestamp) -> QueryResult<()> {
    let row = (replays::key.eq(key.as_slice()), replays::expires.eq(expires.as_micros()));
    diesel::replace_into(replays::table).values(row).execute(conn).map(drop)
}

/// What a code is stored under.
fn stored_as(key: &CodeKey) -> LimitKey {
    limit_key("code", key.as_str())
}

/// Uses a code up; `false` if there is none.
fn take(conn: &mut SqliteConnection, key: &CodeKey, now: Timestamp) -> QueryResult<bool> {
    let key = stored_as(key);
    let live = codes::table.find(key.as_slice()).filter(codes::expires.gt(now.as_micros()));
    Ok(diesel::delete(live).execute(conn)? > 0)
}

/// Checks a guess at a code and books it.
pub(super) fn guess(conn: &mut SqliteConnection, attempt: &Attempt, guess: &CodeGuess) -> QueryResult<CodeCheck> {
    let now = attempt.now;
    let standing = Standing::load(conn, attempt)?;
    if let Some(retry_after) = standing.state.wait() {
        return Ok(CodeCheck::Blocked { retry_after });
    }
    let max_tries = i64::from(guess.max_tries);
    let (mut right, mut live) = (None, Vec::new());
    for (index, (key, tag)) in guess.candidates.iter().enumerate() {
        let key = stored_as(key);
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
        if guess.on_right == CodeUse::Consume {
            let key = stored_as(&guess.candidates[index].0);
            diesel::delete(codes::table.find(key.as_slice())).execute(conn)?;
            standing.forgive(conn)?;
        }
        return Ok(CodeCheck::Right(index));
    }
    for (key, tries) in live {
        let row = codes::table.find(key.as_slice());
        if tries >= max_tries {
            diesel::delete(row).execute(conn)?;
        } else {
            diesel::update(row).set(codes::tries.eq(tries)).execute(conn)?;
        }
    }
    standing.fail(conn)?;
    Ok(CodeCheck::Wrong)
}

/// Keeps a code, in place of an older one.
pub(super) fn put(conn: &mut SqliteConnection, code: &NewCode) -> QueryResult<()> {
    let key = stored_as(&code.key);
    let row = (
        codes::key.eq(key.as_slice()),
        codes::tag.eq(code.tag.as_slice()),
        codes::epoch.eq(code.epoch),
        codes::tries.eq(0),
        codes::expires.eq(code.expires.as_micros()),
    );
    diesel::replace_into(codes::table).values(row).execute(conn).map(drop)
}
