//! Budgets of failures, known origins, and quotas of uses.

use std::time::Duration;

use diesel::dsl::exists;
use diesel::prelude::*;
use stele_core::budget::{Budget, Schedule};
use stele_core::limit_key::{AttemptKeys, LimitKey, OriginTag, limit_key};
use stele_core::ports::{Admission, Attempt, QuotaExceeded, Use};
use stele_core::session::NewSession;
use stele_core::time::Timestamp;

use super::schema::{budgets, known_origins, meta, replays, uses};
use super::{BIRTH, contributions, sessions};
use crate::error::corrupt;

/// One of the budgets an attempt counts against, as it stands.
struct Line {
    key: LimitKey,
    schedule: Schedule,
    budget: Budget,
    /// Whether it is written down: nobody who has not failed is.
    noted: bool,
    /// Whose the failures are, as far as that is kept.
    by_origin: Vec<u8>,
}

/// A budget as it is stored.
type BudgetRow = (Vec<u8>, i64, i64, i64, Vec<u8>);

impl Line {
    /// The budget of `key`, if it is among the `rows`.
    fn of(rows: &[BudgetRow], key: LimitKey, schedule: Schedule, now: Timestamp) -> QueryResult<Self> {
        let Some((_, failures, started, blocked_until, by_origin)) = rows.iter().find(|(of, ..)| *of == key) else {
            return Ok(Self { key, schedule, budget: Budget::fresh(now), noted: false, by_origin: Vec::new() });
        };
        let stored = Budget {
            failures: (*failures).try_into().map_err(|_| corrupt("budgets.failures"))?,
            started: Timestamp::from_micros(*started),
            blocked_until: Timestamp::from_micros(*blocked_until),
        };
        let budget = stored.at(now, &schedule);
        // What an earlier window counted is over.
        let by_origin = if budget.failures == 0 { Vec::new() } else { by_origin.clone() };
        Ok(Self { key, schedule, budget, noted: true, by_origin })
    }

    fn write(&self, conn: &mut SqliteConnection, budget: Budget, by_origin: &[u8]) -> QueryResult<()> {
        let row = (
            budgets::key.eq(self.key.as_slice()),
            budgets::failures.eq(i64::from(budget.failures)),
            budgets::started.eq(budget.started.as_micros()),
            budgets::blocked_until.eq(budget.blocked_until.as_micros()),
            budgets::by_origin.eq(by_origin),
            budgets::expires.eq(budget.expires(&self.schedule).as_micros()),
        );
        diesel::replace_into(budgets::table).values(row).execute(conn).map(drop)
    }

    fn fail(&self, conn: &mut SqliteConnection, now: Timestamp) -> QueryResult<()> {
        self.write(conn, self.budget.fail(now, &self.schedule), &self.by_origin)
    }

    /// As [`Line::fail`], keeping that the failure came from the origin with `tag`.
    fn fail_by(&self, conn: &mut SqliteConnection, now: Timestamp, tag: &OriginTag) -> QueryResult<()> {
        let budget = self.budget.fail(now, &self.schedule);
        let own = budget.attribute(contributions::of(&self.by_origin, tag));
        self.write(conn, budget, &contributions::with(&self.by_origin, tag, own))
    }

    fn forgive(&self, conn: &mut SqliteConnection) -> QueryResult<()> {
        if self.noted {
            diesel::delete(budgets::table.find(self.key.as_slice())).execute(conn)?;
        }
        Ok(())
    }

    /// Forgives what came from the origin with `tag`.
    fn forgive_by(&self, conn: &mut SqliteConnection, tag: &OriginTag) -> QueryResult<()> {
        let own = contributions::of(&self.by_origin, tag);
        match self.budget.forgive(own) {
            None => self.forgive(conn),
            Some(left) if own > 0 => self.write(conn, left, &contributions::with(&self.by_origin, tag, 0)),
            Some(_) => Ok(()),
        }
    }
}

/// What the limits say of an attempt: the budgets it counts against, as they stand.
pub(super) struct Standing {
    known: bool,
    /// The account's, or the origin's own if it is known to the account.
    account: Line,
    /// The origin's and those of the networks around it.
    origins: Vec<Line>,
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
        let account = if facts.known { keys.known } else { keys.account };
        let wanted: Vec<&LimitKey> = std::iter::once(&account).chain(keys.origins.iter().map(|(key, _)| key)).collect();
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
        let now = attempt.now;
        let origins = keys.origins.iter().map(|(key, schedule)| Line::of(&rows, *key, *schedule, now));
        Ok(Self {
            known: facts.known,
            account: Line::of(&rows, account, attempt.limits.account, now)?,
            origins: origins.collect::<QueryResult<_>>()?,
            tag: keys.tag,
        })
    }

    /// How long everything is refused; `None` if nothing is.
    pub(super) fn wait(&self, now: Timestamp) -> Option<Duration> {
        let origins = self.origins.iter().map(|line| line.budget.wait(now));
        origins.fold(self.account.budget.wait(now), Option::max)
    }

    pub(super) fn admission(&self, now: Timestamp) -> Admission {
        match self.wait(now) {
            Some(retry_after) => Admission::Blocked { retry_after },
            None => Admission::Open { failures: self.account.budget.failures, known: self.known },
        }
    }

    /// Counts a failure, against the account and the origin.
    pub(super) fn fail(&self, conn: &mut SqliteConnection, now: Timestamp) -> QueryResult<()> {
        if self.known {
            self.account.fail(conn, now)?;
        } else {
            self.account.fail_by(conn, now, &self.tag)?;
        }
        self.origins.iter().try_for_each(|line| line.fail(conn, now))
    }

    /// Forgives those of the account's failures that came from this origin; what the origin itself has failed stays.
    pub(super) fn forgive(&self, conn: &mut SqliteConnection) -> QueryResult<()> {
        if self.known { self.account.forgive(conn) } else { self.account.forgive_by(conn, &self.tag) }
    }
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
        // If the clock was set back, the window is not drawn out by it.
        let current = row.map(|(count, started)| (count, Timestamp::from_micros(started).min(now)));
        let (count, started) = current.filter(|(_, started)| now < started.after(quota.window)).unwrap_or((0, now));
        if count >= i64::from(quota.max) {
            let wait = started.after(quota.window).since(now);
            let longest = exceeded.map_or(wait, |before| before.retry_after.max(wait));
            exceeded = Some(QuotaExceeded { retry_after: longest, index });
        }
        windows.push((key, count, started, quota.window));
    }
    if exceeded.is_some() {
        return Ok(exceeded);
    }
    for (key, count, started, window) in windows {
        let row = (
            uses::key.eq(key.as_slice()),
            uses::count.eq(count + 1),
            uses::started.eq(started.as_micros()),
            uses::expires.eq(started.after(window).as_micros()),
        );
        diesel::replace_into(uses::table).values(row).execute(conn)?;
    }
    Ok(None)
}
