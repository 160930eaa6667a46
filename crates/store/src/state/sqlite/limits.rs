//! Budgets of failures, known origins, and quotas of uses: what `core::rate_limit` decides, read and written.

use diesel::dsl::exists;
use diesel::prelude::*;
use diesel::result::Error;
use stele_core::limit_key::{AttemptKeys, LimitKey, OriginTag, limit_key};
use stele_core::ports::{Attempt, QuotaExceeded, Use};
use stele_core::rate_limit::{Budget, Change, OriginShares, RateLimitState, StoredBudget, Window, budgets_of};
use stele_core::session::NewSession;
use stele_core::time::Timestamp;

use super::schema::{budgets, known_origins, meta, replays, uses};
use super::{BIRTH, contributions, sessions};
use crate::error::corrupt;

/// A budget as it is stored.
type BudgetRow = (Vec<u8>, i64, i64, i64, Vec<u8>);

/// What the limits say of an attempt, and what changes with it.
pub(super) struct Standing {
    pub(super) state: RateLimitState,
    rows: Vec<BudgetRow>,
    tag: OriginTag,
}

/// What is asked about an attempt in one statement: when the store came up empty; whether the origin is known to the
/// account; whether the proof with this mark was accepted; and whether the user has all the sessions that they may.
pub(super) struct Facts {
    pub(super) birth: Timestamp,
    /// Until when the origin is known to the account; in the past if it is not.
    pub(super) known_until: Timestamp,
    known: bool,
    pub(super) replayed: bool,
    /// Whether another session is one too many.
    pub(super) crowded: bool,
}

impl Facts {
    pub(super) fn load(
        conn: &mut SqliteConnection,
        attempt: &Attempt,
        keys: &AttemptKeys,
        mark: &[u8],
        opened: Option<&NewSession>,
    ) -> QueryResult<Self> {
        let now = attempt.now.as_micros();
        let (user, most) = opened.map_or((&[][..], 1), |new| (new.session.user.as_bytes(), new.per_user));
        let birth = meta::table.find(BIRTH).select(meta::value).single_value();
        let known = known_origins::table.find(keys.known.as_slice()).select(known_origins::expires).single_value();
        let replayed = exists(replays::table.find(mark).filter(replays::expires.gt(now)));
        let columns = (birth, known, replayed, sessions::has_more_than(user, i64::from(most) - 1));
        type Columns = (Option<i64>, Option<i64>, bool, bool);
        let (birth, known, replayed, crowded) = diesel::select(columns).get_result::<Columns>(conn)?;
        // Without it no proof can be told from a replay: fail closed.
        let birth = birth.map(Timestamp::from_micros).ok_or_else(|| corrupt("meta.birth"))?;
        let known_until = Timestamp::from_micros(known.unwrap_or(i64::MIN));
        Ok(Self { birth, known_until, known: known_until > attempt.now, replayed, crowded })
    }
}

impl Standing {
    pub(super) fn load(conn: &mut SqliteConnection, attempt: &Attempt) -> QueryResult<Self> {
        let keys = AttemptKeys::of(attempt);
        let facts = Facts::load(conn, attempt, &keys, &[], None)?;
        Self::given(&facts, conn, attempt, &keys)
    }

    pub(super) fn given(
        facts: &Facts,
        conn: &mut SqliteConnection,
        attempt: &Attempt,
        keys: &AttemptKeys,
    ) -> QueryResult<Self> {
        let wanted = budgets_of(keys, facts.known);
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
        let stored =
            |key: &LimitKey| rows.iter().find(|(of, ..)| of == key).map(|row| stored(row, &keys.tag)).transpose();
        let state = RateLimitState::read(attempt, keys, facts.known, stored)?;
        Ok(Self { state, rows, tag: keys.tag })
    }

    /// Counts a failure, against the account and the origin.
    pub(super) fn fail(&self, conn: &mut SqliteConnection) -> QueryResult<()> {
        self.state.fail().iter().try_for_each(|change| self.make(conn, change))
    }

    /// Forgives those of the account's failures that came from this origin.
    pub(super) fn forgive(&self, conn: &mut SqliteConnection) -> QueryResult<()> {
        self.state.forgive().iter().try_for_each(|change| self.make(conn, change))
    }

    fn make(&self, conn: &mut SqliteConnection, change: &Change) -> QueryResult<()> {
        let (key, budget, expires, origins) = match change {
            Change::Write { key, budget, expires, origins } => (key, budget, expires, origins),
            Change::Remove(key) => {
                return diesel::delete(budgets::table.find(key.as_slice())).execute(conn).map(drop);
            }
        };
        let row = self.rows.iter().find(|(of, ..)| of == key);
        let by_origin = match origins {
            OriginShares::NotKept => Vec::new(),
            OriginShares::Set(own) => contributions::with(row.map_or(&[], |row| &row.4), &self.tag, *own),
            OriginShares::Reset(own) => contributions::with(&[], &self.tag, *own),
        };
        let row = (
            budgets::key.eq(key.as_slice()),
            budgets::failures.eq(i64::from(budget.failures)),
            budgets::started.eq(budget.started.as_micros()),
            budgets::blocked_until.eq(budget.blocked_until.as_micros()),
            budgets::by_origin.eq(by_origin),
            budgets::expires.eq(expires.as_micros()),
        );
        diesel::replace_into(budgets::table).values(row).execute(conn).map(drop)
    }
}

fn stored((_, failures, started, blocked_until, by_origin): &BudgetRow, tag: &OriginTag) -> QueryResult<StoredBudget> {
    let budget = Budget {
        failures: (*failures).try_into().map_err(|_| corrupt("budgets.failures"))?,
        started: Timestamp::from_micros(*started),
        blocked_until: Timestamp::from_micros(*blocked_until),
    };
    Ok(StoredBudget { budget, own: contributions::of(by_origin, tag) })
}

/// Makes the origin known to the account from now on.
pub(super) fn know(conn: &mut SqliteConnection, attempt: &Attempt, keys: &AttemptKeys) -> QueryResult<()> {
    let row = (
        known_origins::key.eq(keys.known.as_slice()),
        known_origins::expires.eq(attempt.now.after(attempt.limits.known_for).as_micros()),
    );
    diesel::replace_into(known_origins::table).values(row).execute(conn).map(drop)
}

/// Counts one use of each, unless one is over its quota: then counts none and returns which, with the longest wait.
pub(super) fn count(conn: &mut SqliteConnection, wanted: &[Use], now: Timestamp) -> QueryResult<Option<QuotaExceeded>> {
    let mut windows = Vec::with_capacity(wanted.len());
    let mut exceeded: Option<QuotaExceeded> = None;
    for (index, Use { key, quota }) in wanted.iter().enumerate() {
        let key = limit_key("use", key);
        let row = uses::table.find(key.as_slice()).select((uses::count, uses::started));
        let row = row.get_result::<(i64, i64)>(conn).optional()?;
        let stored = row.map(|(count, started)| {
            let used = count.try_into().map_err(|_| corrupt("uses.count"))?;
            Ok::<_, Error>(Window { used, started: Timestamp::from_micros(started) })
        });
        let window = quota.window(stored.transpose()?, now);
        if let Some(wait) = quota.wait(&window, now) {
            let longest = exceeded.map_or(wait, |before| before.retry_after.max(wait));
            exceeded = Some(QuotaExceeded { retry_after: longest, index });
        }
        windows.push((key, window, quota.end(&window)));
    }
    if exceeded.is_some() {
        return Ok(exceeded);
    }
    for (key, Window { used, started }, end) in windows {
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
