//! Budgets of failures, known origins, and quotas of uses: what `core::rate_limit` decides, read and written.

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
use crate::error::corrupt_column;

/// A budget as it is stored.
type BudgetRow = (Vec<u8>, i64, i64, i64, Vec<u8>);

/// What the limits say of an attempt, and what changes with it.
pub(super) struct StoredRateLimits {
    pub(super) state: RateLimitState,
    budget_rows: Vec<BudgetRow>,
    origin_tag: OriginHash,
}

/// What is asked about an attempt in one statement: when the store came up empty; whether the origin is known to the
/// account; whether the proof with this mark was accepted; and whether the user has all the sessions that they may.
pub(super) struct AttemptFacts {
    pub(super) birth: Timestamp,
    /// Until when the origin is known to the account; in the past if it is not.
    pub(super) trusted_until: Timestamp,
    origin_trust: OriginTrust,
    pub(super) replayed: bool,
    /// Whether another session is one too many.
    pub(super) at_session_limit: bool,
}

impl AttemptFacts {
    pub(super) fn load(
        conn: &mut SqliteConnection,
        attempt: &LoginAttempt,
        keys: &LoginAttemptKeys,
        mark: &[u8],
        opened: Option<&NewSession>,
    ) -> QueryResult<Self> {
        let now = attempt.now.as_micros();
        let (user, most) = opened.map_or((&[][..], 1), |new| (new.session.user.as_bytes(), new.max_per_user));
        let birth = meta::table.find(BIRTH_KEY).select(meta::value).single_value();
        let known =
            known_origins::table.find(keys.trusted_origin.as_slice()).select(known_origins::expires).single_value();
        let replayed = exists(replays::table.find(mark).filter(replays::expires.gt(now)));
        let columns = (birth, known, replayed, sessions::has_more_than(user, i64::from(most) - 1));
        type Columns = (Option<i64>, Option<i64>, bool, bool);
        let (birth, known, replayed, crowded) = diesel::select(columns).get_result::<Columns>(conn)?;
        // Without it no proof can be told from a replay: fail closed.
        let birth = birth.map(Timestamp::from_micros).ok_or_else(|| corrupt_column("meta.birth"))?;
        let known_until = Timestamp::from_micros(known.unwrap_or(i64::MIN));
        Ok(Self {
            birth,
            trusted_until: known_until,
            origin_trust: if known_until > attempt.now { OriginTrust::Trusted } else { OriginTrust::Untrusted },
            replayed,
            at_session_limit: crowded,
        })
    }
}

impl StoredRateLimits {
    pub(super) fn load(conn: &mut SqliteConnection, attempt: &LoginAttempt) -> QueryResult<Self> {
        let keys = LoginAttemptKeys::for_attempt(attempt);
        let facts = AttemptFacts::load(conn, attempt, &keys, &[], None)?;
        Self::load_with_facts(&facts, conn, attempt, &keys)
    }

    pub(super) fn load_with_facts(
        facts: &AttemptFacts,
        conn: &mut SqliteConnection,
        attempt: &LoginAttempt,
        keys: &LoginAttemptKeys,
    ) -> QueryResult<Self> {
        let wanted = counter_keys(keys, facts.origin_trust);
        let mut rows = Vec::new();
        // Two at a time: one statement for an IPv4 address or an app, the same one twice for IPv6.
        for pair in wanted.chunks(2) {
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
        let stored = |key: &RateLimitKey| {
            rows.iter().find(|(of, ..)| of == key).map(|row| decode_budget(row, &keys.origin_hash)).transpose()
        };
        let state = RateLimitState::load(attempt, keys, facts.origin_trust, stored)?;
        Ok(Self { state, budget_rows: rows, origin_tag: keys.origin_hash })
    }

    /// Counts a failure, against the account and the origin.
    pub(super) fn record_failure(&self, conn: &mut SqliteConnection) -> QueryResult<()> {
        self.state.record_failure().iter().try_for_each(|change| self.apply(conn, change))
    }

    /// Forgives those of the account's failures that came from this origin.
    pub(super) fn clear_own_failures(&self, conn: &mut SqliteConnection) -> QueryResult<()> {
        self.state.clear_origin_failures().iter().try_for_each(|change| self.apply(conn, change))
    }

    fn apply(&self, conn: &mut SqliteConnection, change: &CounterUpdate) -> QueryResult<()> {
        let (key, budget, expires, origins) = match change {
            CounterUpdate::Store { key, counter: budget, expires_at: expires, origin_failures: origins } => {
                (key, budget, expires, origins)
            }
            CounterUpdate::Delete(key) => {
                return diesel::delete(budgets::table.find(key.as_slice())).execute(conn).map(drop);
            }
        };
        let row = self.budget_rows.iter().find(|(of, ..)| of == key);
        let by_origin = match origins {
            OriginFailures::NotTracked => Vec::new(),
            OriginFailures::Set(own) => {
                failures_by_origin::with_failures(row.map_or(&[], |row| &row.4), &self.origin_tag, *own)
            }
            OriginFailures::Reset(own) => failures_by_origin::with_failures(&[], &self.origin_tag, *own),
        };
        let row = (
            budgets::key.eq(key.as_slice()),
            budgets::failures.eq(i64::from(budget.failures)),
            budgets::started.eq(budget.window_start.as_micros()),
            budgets::blocked_until.eq(budget.blocked_until.as_micros()),
            budgets::by_origin.eq(by_origin),
            budgets::expires.eq(expires.as_micros()),
        );
        diesel::replace_into(budgets::table).values(row).execute(conn).map(drop)
    }
}

fn decode_budget(
    (_, failures, started, blocked_until, by_origin): &BudgetRow,
    tag: &OriginHash,
) -> QueryResult<StoredFailures> {
    let budget = FailureCounter {
        failures: (*failures).try_into().map_err(|_| corrupt_column("budgets.failures"))?,
        window_start: Timestamp::from_micros(*started),
        blocked_until: Timestamp::from_micros(*blocked_until),
    };
    Ok(StoredFailures { counter: budget, from_origin: failures_by_origin::failures_of(by_origin, tag) })
}

/// Makes the origin known to the account from now on.
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

/// Counts one use of each, unless one is over its quota: then counts none and returns which, with the longest wait.
pub(super) fn count_uses(
    conn: &mut SqliteConnection,
    wanted: &[QuotaUse],
    now: Timestamp,
) -> QueryResult<Option<QuotaExceeded>> {
    let mut windows = Vec::with_capacity(wanted.len());
    let mut exceeded: Option<QuotaExceeded> = None;
    for (index, QuotaUse { key, quota }) in wanted.iter().enumerate() {
        let key = rate_limit_key("use", key);
        let row = uses::table.find(key.as_slice()).select((uses::count, uses::started));
        let row = row.get_result::<(i64, i64)>(conn).optional()?;
        let stored = row.map(|(count, started)| {
            let used = count.try_into().map_err(|_| corrupt_column("uses.count"))?;
            Ok::<_, Error>(QuotaWindow { used, start: Timestamp::from_micros(started) })
        });
        let window = quota.current_window(stored.transpose()?, now);
        if let Some(wait) = quota.retry_after(&window, now) {
            let longest = exceeded.map_or(wait, |before| before.retry_after.max(wait));
            exceeded = Some(QuotaExceeded { retry_after: longest, index });
        }
        windows.push((key, window, quota.window_end(&window)));
    }
    if exceeded.is_some() {
        return Ok(exceeded);
    }
    for (key, QuotaWindow { used, start: started }, end) in windows {
        let row = (
            uses::key.eq(key.as_slice()),
            uses::count.eq(i64::from(used) + 1),
            uses::started.eq(started.as_micros()),
            uses::expires.eq(end.as_micros()),
        );
        diesel::replace_into(uses::table).values(row).execute(conn)?;
    }
    Ok(None)
}
