//! Rate limits in SQLite: loads and stores the failure counters, trusted origins and quota windows of
//! `stele_core::rate_limit`, which makes the decisions.

use diesel::dsl::exists;
use diesel::prelude::*;
use diesel::result::Error;
use stele_core::ports::{LoginAttempt, QuotaExceeded, QuotaUse};
use stele_core::rate_limit::{
    CounterUpdate, FailureCounter, OriginFailures, OriginTrust, QuotaWindow, RateLimitState, StoredFailures,
    counter_keys,
};
use stele_core::rate_limit_key::{LoginAttemptKeys, OriginHash, RateLimitKey, rate_limit_key};
use stele_core::session::NewSession;
use stele_core::time::Timestamp;

use super::schema::{budgets, known_origins, meta, replays, uses};
use super::{BIRTH_KEY, failures_by_origin, sessions};
use crate::error::corrupt_column_error;

/// A row of `budgets`: key, failures, start of the window, end of the wait, and failures by origin.
type BudgetRow = (Vec<u8>, i64, i64, i64, Vec<u8>);

/// The rate limit state of an attempt, with the rows that it was loaded from.
pub(super) struct StoredRateLimits {
    pub(super) state: RateLimitState,
    budget_rows: Vec<BudgetRow>,
    origin_hash: OriginHash,
}

/// Facts about an attempt that one statement reads. The failure counters are read separately.
pub(super) struct AttemptFacts {
    /// The store's birth ([`super::load_birth`]).
    pub(super) birth: Timestamp,
    /// End of the account's trust in the origin; in the past if it is not trusted.
    pub(super) trusted_until: Timestamp,
    origin_trust: OriginTrust,
    /// Whether the proof was accepted before and is still remembered.
    pub(super) is_replayed: bool,
    /// Whether the user has as many sessions as allowed, or more.
    pub(super) is_at_session_limit: bool,
}

impl AttemptFacts {
    pub(super) fn load(
        conn: &mut SqliteConnection,
        attempt: &LoginAttempt,
        keys: &LoginAttemptKeys,
        replay_key: &[u8],
        new_session: Option<&NewSession>,
    ) -> QueryResult<Self> {
        let now = attempt.now.as_micros();
        let (user, max_sessions) =
            new_session.map_or((&[][..], 1), |new| (new.session.user.as_bytes(), new.max_per_user));
        let birth = meta::table.find(BIRTH_KEY).select(meta::value).single_value();
        let trusted_until =
            known_origins::table.find(keys.trusted_origin.as_slice()).select(known_origins::expires).single_value();
        let is_replayed = exists(replays::table.find(replay_key).filter(replays::expires.gt(now)));
        let columns =
            (birth, trusted_until, is_replayed, sessions::has_more_sessions_than(user, i64::from(max_sessions) - 1));
        type Columns = (Option<i64>, Option<i64>, bool, bool);
        let (birth, trusted_until, is_replayed, is_at_session_limit) =
            diesel::select(columns).get_result::<Columns>(conn)?;
        // Without a birth, a replayed proof cannot be detected: fail closed.
        let birth = birth.map(Timestamp::from_micros).ok_or_else(|| corrupt_column_error("meta.birth"))?;
        let trusted_until = Timestamp::from_micros(trusted_until.unwrap_or(i64::MIN));
        let origin_trust = if trusted_until > attempt.now { OriginTrust::Trusted } else { OriginTrust::Untrusted };
        Ok(Self { birth, trusted_until, origin_trust, is_replayed, is_at_session_limit })
    }
}

impl StoredRateLimits {
    /// Loads the facts and the counters of an attempt that has no proof and opens no session.
    pub(super) fn load(conn: &mut SqliteConnection, attempt: &LoginAttempt) -> QueryResult<Self> {
        let keys = LoginAttemptKeys::for_attempt(attempt);
        let facts = AttemptFacts::load(conn, attempt, &keys, &[], None)?;
        Self::load_with_facts(&facts, conn, attempt, &keys)
    }

    /// Loads the counters of an attempt whose `facts` are loaded.
    pub(super) fn load_with_facts(
        facts: &AttemptFacts,
        conn: &mut SqliteConnection,
        attempt: &LoginAttempt,
        keys: &LoginAttemptKeys,
    ) -> QueryResult<Self> {
        let keys_to_load = counter_keys(keys, facts.origin_trust);
        let mut rows = Vec::new();
        // Each execution of the statement loads two keys: one execution for an IPv4 address or an app, two for IPv6.
        for pair in keys_to_load.chunks(2) {
            let (first, last) = (pair[0].as_slice(), pair[pair.len() - 1].as_slice());
            rows.extend(
                budgets::table
                    .filter(budgets::key.eq(first).or(budgets::key.eq(last)))
                    .select((
                        budgets::key,
                        budgets::failures,
                        budgets::started,
                        budgets::blocked_until,
                        budgets::by_origin,
                    ))
                    .load::<BudgetRow>(conn)?,
            );
        }
        let find_stored = |key: &RateLimitKey| {
            rows.iter()
                .find(|(row_key, ..)| row_key == key)
                .map(|row| decode_budget(row, &keys.origin_hash))
                .transpose()
        };
        let state = RateLimitState::load(attempt, keys, facts.origin_trust, find_stored)?;
        Ok(Self { state, budget_rows: rows, origin_hash: keys.origin_hash })
    }

    /// Counts a failure against the account and the origin.
    pub(super) fn record_failure(&self, conn: &mut SqliteConnection) -> QueryResult<()> {
        self.state.record_failure().iter().try_for_each(|change| self.apply(conn, change))
    }

    /// Clears the account's failures that came from this origin.
    pub(super) fn clear_own_failures(&self, conn: &mut SqliteConnection) -> QueryResult<()> {
        self.state.clear_origin_failures().iter().try_for_each(|change| self.apply(conn, change))
    }

    fn apply(&self, conn: &mut SqliteConnection, change: &CounterUpdate) -> QueryResult<()> {
        let (key, counter, expires_at, origin_failures) = match change {
            CounterUpdate::Store { key, counter, expires_at, origin_failures } => {
                (key, counter, expires_at, origin_failures)
            }
            CounterUpdate::Delete(key) => {
                return diesel::delete(budgets::table.find(key.as_slice())).execute(conn).map(drop);
            }
        };
        let stored = self.budget_rows.iter().find(|(row_key, ..)| row_key == key);
        let by_origin = match origin_failures {
            OriginFailures::NotTracked => Vec::new(),
            OriginFailures::Set(failures) => {
                let packed = stored.map_or(&[][..], |(.., by_origin)| by_origin);
                failures_by_origin::with_failures(packed, &self.origin_hash, *failures)
            }
            OriginFailures::Reset(failures) => failures_by_origin::with_failures(&[], &self.origin_hash, *failures),
        };
        let row = (
            budgets::key.eq(key.as_slice()),
            budgets::failures.eq(i64::from(counter.failures)),
            budgets::started.eq(counter.window_start.as_micros()),
            budgets::blocked_until.eq(counter.blocked_until.as_micros()),
            budgets::by_origin.eq(by_origin),
            budgets::expires.eq(expires_at.as_micros()),
        );
        diesel::replace_into(budgets::table).values(row).execute(conn).map(drop)
    }
}

fn decode_budget(
    (_, failures, started, blocked_until, by_origin): &BudgetRow,
    origin_hash: &OriginHash,
) -> QueryResult<StoredFailures> {
    let counter = FailureCounter {
        failures: (*failures).try_into().map_err(|_| corrupt_column_error("budgets.failures"))?,
        window_start: Timestamp::from_micros(*started),
        blocked_until: Timestamp::from_micros(*blocked_until),
    };
    Ok(StoredFailures { counter, from_origin: failures_by_origin::failures_of(by_origin, origin_hash) })
}

/// Makes the origin trusted by the account for `trusted_origin_ttl` from the time of the attempt on.
pub(super) fn trust_origin(
    conn: &mut SqliteConnection,
    attempt: &LoginAttempt,
    keys: &LoginAttemptKeys,
) -> QueryResult<()> {
    let row = (
        known_origins::key.eq(keys.trusted_origin.as_slice()),
        known_origins::expires.eq(attempt.now.saturating_add(attempt.limits.trusted_origin_ttl).as_micros()),
    );
    diesel::replace_into(known_origins::table).values(row).execute(conn).map(drop)
}

/// Counts one use of each quota. If a quota is exceeded, counts none, and returns the index of the last exceeded quota
/// and the longest wait.
pub(super) fn consume_quotas(
    conn: &mut SqliteConnection,
    quota_uses: &[QuotaUse],
    now: Timestamp,
) -> QueryResult<Option<QuotaExceeded>> {
    let mut windows = Vec::with_capacity(quota_uses.len());
    let mut exceeded: Option<QuotaExceeded> = None;
    for (index, QuotaUse { key, quota }) in quota_uses.iter().enumerate() {
        let key = rate_limit_key("use", key);
        let row = uses::table.find(key.as_slice()).select((uses::count, uses::started));
        let row = row.get_result::<(i64, i64)>(conn).optional()?;
        let stored = row.map(|(count, started)| {
            let used = count.try_into().map_err(|_| corrupt_column_error("uses.count"))?;
            Ok::<_, Error>(QuotaWindow { used, start: Timestamp::from_micros(started) })
        });
        let window = quota.current_window(stored.transpose()?, now);
        if let Some(retry_after) = quota.retry_after(&window, now) {
            let longest = exceeded.map_or(retry_after, |previous| previous.retry_after.max(retry_after));
            exceeded = Some(QuotaExceeded { retry_after: longest, index });
        }
        windows.push((key, window, quota.window_end(&window)));
    }
    if exceeded.is_some() {
        return Ok(exceeded);
    }
    for (key, QuotaWindow { used, start }, end) in windows {
        let row = (
            uses::key.eq(key.as_slice()),
            uses::count.eq(i64::from(used) + 1),
            uses::started.eq(start.as_micros()),
            uses::expires.eq(end.as_micros()),
        );
        diesel::replace_into(uses::table).values(row).execute(conn)?;
    }
    Ok(None)
}
