//! Use of the dialects: who opens sessions through which dialect, client and proof, and on which days. The evidence for
//! turning a dialect off (ADR 61).

pub mod report;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::event::{Action, Event, Outcome, Subject};
use crate::session::DialectName;
use crate::time::{Offset, Timestamp};
use crate::user::UserId;

/// The proof of a session that a registration opened: the user presented a code, no password.
const CODE_PROOF: &str = "code";
/// The length of a day in microseconds.
const DAY_MICROS: i64 = 86_400_000_000;
/// How many days before a user's last one are remembered.
const DAYS_REMEMBERED: i64 = 62;
/// How far the stored time of a user's last use may lie behind: a row is not written at each login.
pub const LAST_USE_PRECISION: Duration = Duration::from_secs(3_600);

/// The name of a client in the use of dialects: a registered app, a client token, a name of the operator's list of
/// clients, or `other`. Never text that a client sent.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientName(Arc<str>);

impl ClientName {
    /// The name of every client that the operator's list does not name.
    pub const OTHER: &str = "other";

    /// Parses a name of 1 to 64 letters, digits, `.`, `_` and `-`; `None` for anything else.
    pub fn parse(text: impl Into<Arc<str>>) -> Option<Self> {
        let text = text.into();
        crate::app::App::is_valid_name(&text).then_some(Self(text))
    }

    /// The name of clients that are not on the operator's list.
    pub fn other() -> Self {
        Self(Self::OTHER.into())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A day in UTC, as the number of days since 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UtcDay(i64);

impl UtcDay {
    /// The day of `at`.
    pub fn of(at: Timestamp) -> Self {
        Self(at.as_micros().div_euclid(DAY_MICROS))
    }

    /// The day with this number.
    pub const fn from_number(number: i64) -> Self {
        Self(number)
    }

    /// The number of days since 1970-01-01.
    pub const fn number(self) -> i64 {
        self.0
    }

    /// The first moment of the day.
    pub const fn start(self) -> Timestamp {
        Timestamp::from_micros(self.0.saturating_mul(DAY_MICROS))
    }

    /// The day `days` later, or earlier if negative; saturating.
    #[must_use]
    pub const fn plus(self, days: i64) -> Self {
        Self(self.0.saturating_add(days))
    }
}

impl fmt::Display for UtcDay {
    /// `2026-11-27`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.start().to_rfc3339(Offset::UTC);
        f.write_str(text.split('T').next().unwrap_or_default())
    }
}

/// A use of a dialect: an event that opened a session of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialectUse {
    /// The user.
    pub user: UserId,
    /// The dialect.
    pub dialect: DialectName,
    /// The client.
    pub client: ClientName,
    /// How the user proved who they are: a word of [`crate::proof::ProofKind::as_str`], or `code` for a registration.
    pub proof: &'static str,
}

impl DialectUse {
    /// The use that `event` reports; `None` if the event opened no session of a known user.
    pub fn of_event(event: &Event) -> Option<Self> {
        let (Some(Subject::User(user)), Some(entry_point)) = (&event.subject, &event.entry_point) else { return None };
        let proof = event.opened_session_proof()?;
        let registered_name = [&entry_point.app, &entry_point.client_token].into_iter().find(|name| !name.is_empty());
        let client = match registered_name {
            Some(name) => ClientName::parse(name.as_str()),
            None => event.client.as_ref().and_then(|client| client.client_name.clone()),
        };
        let client = client.unwrap_or_else(ClientName::other);
        Some(Self { user: *user, dialect: entry_point.dialect, client, proof })
    }
}

impl Event {
    /// The proof by which this event opened a session; `None` if it opened none.
    pub fn opened_session_proof(&self) -> Option<&'static str> {
        let is_through_app = self.entry_point.as_ref().is_some_and(|entry_point| !entry_point.app.is_empty());
        match (self.action, self.outcome) {
            (Action::Login(proof) | Action::ChangePassword(proof), Outcome::Done) => Some(proof.as_str()),
            // Registration through an app also opens an app-bound session.
            (Action::Register, Outcome::Done) if is_through_app => Some(CODE_PROOF),
            _ => None,
        }
    }
}

/// What a store keeps of one user's use of a dialect through one client with one proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserActivity {
    /// The first use.
    pub first_at: Timestamp,
    /// The last use, to [`LAST_USE_PRECISION`].
    pub last_at: Timestamp,
    /// The newest day with a use.
    pub last_day: UtcDay,
    /// Bit `n` is set if there was a use `n` days before `last_day`; `n` is 0 to 62.
    pub days: i64,
}

/// Whether a use was the first of its day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DayCount {
    /// The user is counted for the day now.
    First,
    /// The user was counted for the day already.
    Repeated,
}

impl UserActivity {
    /// The activity of a user whose first uses are on `day`, from `first_at` to `last_at`.
    pub fn new(day: UtcDay, first_at: Timestamp, last_at: Timestamp) -> Self {
        Self { first_at, last_at, last_day: day, days: 1 }
    }

    /// Adds uses on `day` from `first_at` to `last_at`. Returns whether the day counts now, and the changed activity
    /// if it must be stored. A day more than 62 before the last one counts as repeated.
    pub fn with_uses(self, day: UtcDay, first_at: Timestamp, last_at: Timestamp) -> (DayCount, Option<Self>) {
        let age = self.last_day.0.saturating_sub(day.0);
        let is_counted = age > DAYS_REMEMBERED || (age >= 0 && self.days >> age & 1 == 1);
        let is_stale = last_at.saturating_duration_since(self.last_at) > LAST_USE_PRECISION;
        if is_counted && !is_stale {
            return (DayCount::Repeated, None);
        }
        let days = match age {
            _ if is_counted => self.days,
            0.. => self.days | 1 << age,
            _ if age >= -DAYS_REMEMBERED => (self.days << -age & i64::MAX) | 1,
            _ => 1,
        };
        let changed = Self {
            first_at: self.first_at.min(first_at),
            last_at: self.last_at.max(last_at),
            last_day: self.last_day.max(day),
            days,
        };
        (if is_counted { DayCount::Repeated } else { DayCount::First }, Some(changed))
    }

    /// On how many of the `window` days (1 to 63) that end with `today` there was a use.
    pub fn days_used(self, today: UtcDay, window: u32) -> u32 {
        let age = today.0.saturating_sub(self.last_day.0).max(0);
        let Ok(remaining) = u32::try_from(i64::from(window.min(63)) - age) else { return 0 };
        let mask = i64::MAX >> 63u32.saturating_sub(remaining).min(62);
        if remaining == 0 { 0 } else { (self.days & mask).count_ones() }
    }
}

/// A dialect, client and proof.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UseKind {
    /// The dialect. A newer version may have written one that this version does not know.
    pub dialect: String,
    /// The client.
    pub client: String,
    /// The proof.
    pub proof: String,
}

/// The use of one [`UseKind`] on one day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DailyUse {
    /// The day.
    pub day: UtcDay,
    /// Dialect, client and proof.
    pub kind: UseKind,
    /// How many sessions were opened.
    pub logins: u64,
    /// How many different users opened them.
    pub users: u64,
}

/// The first and the last recorded use of one [`UseKind`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsePeriod {
    /// Dialect, client and proof.
    pub kind: UseKind,
    /// The first use.
    pub first_at: Timestamp,
    /// The last use.
    pub last_at: Timestamp,
}

/// One user's use of one [`UseKind`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserUse {
    /// The user's id.
    pub user: UserId,
    /// What identifies the user: the name, else the phone number, else the e-mail address; `None` if the user was
    /// deleted.
    pub identifier: Option<String>,
    /// Dialect, client and proof.
    pub kind: UseKind,
    /// When.
    pub activity: UserActivity,
}

/// A position in a listing of [`UserUse`]: the last one that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserUseCursor {
    /// [`UserActivity::last_at`].
    pub last_at: Timestamp,
    /// The user.
    pub user: UserId,
    /// The client.
    pub client: String,
    /// The proof.
    pub proof: String,
}

impl From<&UserUse> for UserUseCursor {
    fn from(row: &UserUse) -> Self {
        let UseKind { client, proof, .. } = row.kind.clone();
        Self { last_at: row.activity.last_at, user: row.user, client, proof }
    }
}

#[cfg(test)]
#[path = "dialect_use/tests.rs"]
mod tests;
