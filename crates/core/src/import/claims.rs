//! The ids that a row claims: what no other user may be known by, in the dialect whose clients have stored them.

use super::{ImportRow, MAX_USER_NUMBER};
use crate::user::{FIRST_USER_NUMBER, UserId, legacy_key};

/// The dialect that answers user numbers, and an `id` that follows from the number unless it was imported.
pub const PORTAL: &str = "portal";

/// Later users are numbered beyond the number from which an imported `id` of the portal would follow, if that is at most
/// this: others are not reached by counting.
const MAX_RESERVED_NUMBER: i64 = 100_000_000;

/// The ids that a row claims.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdClaims {
    /// By what clients of the source's dialect find the user: see [`legacy_key`].
    pub legacy_key: Option<String>,
    /// The old id, if it is a UUID. It would be taken for that of the user who has it.
    pub id: Option<UserId>,
    /// The number that the row sets.
    pub number: Option<i64>,
    /// See [`derived_number`].
    pub derived_number: Option<i64>,
}

impl IdClaims {
    /// The claims of a row of a source whose old ids the clients of `dialect` know.
    pub fn of(row: &ImportRow, dialect: Option<&str>) -> Self {
        let Some(dialect) = dialect else { return Self { number: row.number, ..Self::default() } };
        let old_id = row.old_id.as_str();
        Self {
            legacy_key: Some(legacy_key(old_id)),
            id: UserId::parse(old_id),
            number: row.number,
            derived_number: derived_number(dialect, old_id),
        }
    }

    /// The claims of a row that joins a user, who keeps the number: only the portal answers another one.
    #[must_use]
    pub fn of_merged(self, dialect: Option<&str>) -> Self {
        if dialect == Some(PORTAL) { self } else { Self { number: None, ..self } }
    }

    /// The highest number that must not be given to a later user.
    pub fn reserved_number(&self) -> Option<i64> {
        self.number.max(self.derived_number.filter(|&number| number <= MAX_RESERVED_NUMBER))
    }
}

/// The number of the user who would be answered this old id of the portal by
/// [`sequential_id`](crate::user::sequential_id); `None` for other dialects, and for ids that do not look like that.
pub fn derived_number(dialect: &str, old_id: &str) -> Option<i64> {
    let id: i64 = old_id.parse().ok().filter(|id| dialect == PORTAL && (1..=MAX_USER_NUMBER).contains(id))?;
    (id.to_string() == old_id).then_some(id + FIRST_USER_NUMBER - 1)
}
