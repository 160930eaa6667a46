//! Budgets of failures, known origins, and quotas of uses.

use std::time::Duration;

use diesel::dsl::exists;
use diesel::prelude::*;
use stele_core::budget::{Budget, Schedule};
use stele_core::origin::Origin;
use stele_core::ports::{Admission, Attempt, Use};
use stele_core::time::Timestamp;

use super::schema::{budgets, known_origins, meta, replays, uses};
use super::{BIRTH, sessions};
use crate::error::corrupt;

/// One of the budgets an attempt counts against, as it stands.
struct Line {
    key: String,
    schedule: Schedule,
    budget: Budget,
    /// Whether it is written down: nobody who has not failed is.
    noted: bool,
}

/// A budget as it is stored.
type BudgetRow = (String, i64, i64, i64);

impl Line {
    /// The budget of `key`, if it is among the `rows`.
    fn of(rows: &[BudgetRow], key: String, schedule: Schedule, now: Timestamp) -> QueryResult<Self> {
        let row = rows.iter().find(|(of, ..)| *of == key);
        let budget = match row {
            None => Budget::fresh(now),
            Some((_, failures, started, blocked_until)) => Budget {
                failures: (*failures).try_into().map_err(|_| corrupt("budgets.failures"))?,
                started: Timestamp::from_micros(*started),
                blocked_until: Timestamp::from_micros(*blocked_until),
            }
            .at(now, &schedule),
        };
        Ok(Self { key, schedule, budget, noted: row.is_some() })
    }

    fn fail(&self, conn: &mut SqliteConnection, now: Timestamp) -> QueryResult<()> {
        let budget = self.budget.fail(now, &self.schedule);
        let row = (
            budgets::key.eq(&self.key),
            budgets::failures.eq(i64::from(budget.failures)),
            budgets::started.eq(budget.started.as_micros()),
            budgets::blocked_until.eq(budget.blocked_until.as_micros()),
            budgets::expires.eq(budget.expires(&self.schedule).as_micros()),
        );
        diesel::replace_into(budgets::table).values(row).execute(conn).map(drop)
    }
}

/// What the limits say of an attempt: the budgets it counts against, as they stand.
pub(super) struct Standing {
    known: bool,
    /// The account's, or the origin's own if it is known to the account.
    account: Line,
    origin: Line,
}

/// What is asked about an attempt in one statement: when the store came up empty; whether the origin is known to the
/// account; whether the proof with this mark was accepted; and how many sessions the user has.
pub(super) struct Facts {
    pub(super) birth: Timestamp,
    known: bool,
    pub(super) replayed: bool,
    /// How many sessions the user has.
    pub(super) sessions: i64,
}

impl Facts {
    pub(super) fn load(conn: &mut SqliteConnection, attempt: &Attempt, mark: &[u8], user: &[u8]) -> QueryResult<Self> {
        let (now, place) = (attempt.now.as_micros(), attempt.origin.to_string());
        let known = known_origins::table.find((&attempt.account, &place)).filter(known_origins::expires.gt(now));
        let replayed = replays::table.find(mark).filter(replays::expires.gt(now));
        let birth = meta::table.find(BIRTH).select(meta::value).single_value();
        let columns = (birth, exists(known), exists(replayed), sessions::open(user));
        type Columns = (Option<i64>, bool, bool, Option<i64>);
        let (birth, known, replayed, sessions) = diesel::select(columns).get_result::<Columns>(conn)?;
        // Without it no proof can be told from a replay: fail closed.
        let birth = birth.map(Timestamp::from_micros).ok_or_else(|| corrupt("meta.birth"))?;
        Ok(Self { birth, known, replayed, sessions: sessions.unwrap_or(0) })
    }
}

impl Standing {
    pub(super) fn load(conn: &mut SqliteConnection, attempt: &Attempt) -> QueryResult<Self> {
        let facts = Facts::load(conn, attempt, &[], &[])?;
        Self::given(&facts, conn, attempt)
    }

    pub(super) fn given(facts: &Facts, conn: &mut SqliteConnection, attempt: &Attempt) -> QueryResult<Self> {
        let Attempt { account, origin, now, limits, .. } = attempt;
        let place = origin.to_string();
        // No id and no hash has an @ in it, so no account's key is another's at an origin.
        let key = if facts.known { format!("account:{account}@{place}") } else { format!("account:{account}") };
        let place = format!("origin:{place}");
        let schedule = match origin {
            Origin::Address(_) => limits.address,
            Origin::App(_) => limits.app,
        };
        let rows = budgets::table
            .filter(budgets::key.eq(&key).or(budgets::key.eq(&place)))
            .select((budgets::key, budgets::failures, budgets::started, budgets::blocked_until))
            .load::<BudgetRow>(conn)?;
        Ok(Self {
            known: facts.known,
            account: Line::of(&rows, key, limits.account, *now)?,
            origin: Line::of(&rows, place, schedule, *now)?,
        })
    }

    /// How long everything is refused; `None` if nothing is.
    pub(super) fn wait(&self, now: Timestamp) -> Option<Duration> {
        self.account.budget.wait(now).max(self.origin.budget.wait(now))
    }

    pub(super) fn admission(&self, now: Timestamp) -> Admission {
        match self.wait(now) {
            Some(retry_after) => Admission::Blocked { retry_after },
            None => Admission::Open { failures: self.account.budget.failures, known: self.known },
        }
    }

    /// Counts a failure, against the account and the origin.
    pub(super) fn fail(&self, conn: &mut SqliteConnection, now: Timestamp) -> QueryResult<()> {
        self.account.fail(conn, now)?;
        self.origin.fail(conn, now)
    }

    /// Forgives the failures at the account; the origin's stay.
    pub(super) fn forgive(&self, conn: &mut SqliteConnection) -> QueryResult<()> {
        if self.account.noted {
            diesel::delete(budgets::table.find(&self.account.key)).execute(conn)?;
        }
        Ok(())
    }
}

/// Makes the origin known to the account from now on.
pub(super) fn know(conn: &mut SqliteConnection, attempt: &Attempt) -> QueryResult<()> {
    let row = (
        known_origins::account.eq(&attempt.account),
        known_origins::origin.eq(attempt.origin.to_string()),
        known_origins::expires.eq(attempt.now.after(attempt.limits.known_for).as_micros()),
    );
    diesel::replace_into(known_origins::table).values(row).execute(conn).map(drop)
}

/// Counts one use of each, unless one is over its quota: then counts none and gives the longest wait.
pub(super) fn count(conn: &mut SqliteConnection, wanted: &[Use], now: Timestamp) -> QueryResult<Option<Duration>> {
    let mut windows = Vec::with_capacity(wanted.len());
    let mut wait = None;
    for Use { key, quota } in wanted {
        let row =
            uses::table.find(key).select((uses::count, uses::started)).get_result::<(i64, i64)>(conn).optional()?;
        // If the clock was set back, the window is not drawn out by it.
        let current = row.map(|(count, started)| (count, Timestamp::from_micros(started).min(now)));
        let (count, started) = current.filter(|(_, started)| now < started.after(quota.window)).unwrap_or((0, now));
        if count >= i64::from(quota.max) {
            wait = wait.max(Some(started.after(quota.window).since(now)));
        }
        windows.push((key, count, started, quota.window));
    }
    if wait.is_some() {
        return Ok(wait);
    }
    for (key, count, started, window) in windows {
        let row = (
            uses::key.eq(key),
            uses::count.eq(count + 1),
            uses::started.eq(started.as_micros()),
            uses::expires.eq(started.after(window).as_micros()),
        );
        diesel::replace_into(uses::table).values(row).execute(conn)?;
    }
    Ok(None)
}
