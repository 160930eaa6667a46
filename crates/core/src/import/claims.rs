//! The ids that a row claims: what no other user may be known by, in the dialect whose clients have stored them.

use super::{ImportRow, MAX_USER_NUMBER};
use crate::user::{FIRST_USER_NUMBER, UserId, legacy_key, sequential_id};

/// The dialect that answers user numbers, and an `id` that is derived from the number unless it was imported.
pub const PORTAL: &str = "portal";

/// An old id of the portal above this is not reached by counting, so the numbers of later users need not begin above it.
const MAX_RESERVED_ID: i64 = i32::MAX as i64;

/// The ids that a row claims.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdClaims {
    /// By what clients of the source's dialect find the user: see [`legacy_key`].
    pub legacy_key: Option<String>,
    /// The old id, if it is a UUID. It would be taken for that of the user who has it.
    pub id: Option<UserId>,
    /// The number that the row sets.
    pub number: Option<i64>,
    /// The portal's `id`, if the row sets it by its old id or by its number.
    pub portal_id: Option<i64>,
}

impl IdClaims {
    /// The claims of a row of a source whose old ids the clients of `dialect` know.
    pub fn of(row: &ImportRow, dialect: Option<&str>) -> Self {
        let Some(dialect) = dialect else { return Self::of_number(row.number) };
        let old_id = row.old_id.as_str();
        let claims = Self { legacy_key: Some(legacy_key(old_id)), id: UserId::parse(old_id), ..Self::default() };
        match dialect {
            PORTAL => Self { number: row.number, portal_id: parse_sequential(old_id), ..claims },
            _ => Self { legacy_key: claims.legacy_key, id: claims.id, ..Self::of_number(row.number) },
        }
    }

    fn of_number(number: Option<i64>) -> Self {
        Self { number, portal_id: number.map(sequential_id), ..Self::default() }
    }

    /// The claims of a row that joins a user, who keeps the number: only the portal answers another one.
    #[must_use]
    pub fn of_merged(self, dialect: Option<&str>) -> Self {
        if dialect == Some(PORTAL) { self } else { Self { number: None, portal_id: None, ..self } }
    }

    /// The highest number that must not be given to a later user, who would be known by one of these ids.
    pub fn reserved_number(&self) -> Option<i64> {
        let derived = self.portal_id.filter(|&id| id <= MAX_RESERVED_ID).map(|id| id + FIRST_USER_NUMBER - 1);
        self.number.max(derived)
    }
}

/// An id as counting writes it: decimal digits without leading zeros.
fn parse_sequential(id: &str) -> Option<i64> {
    let number = id.parse().ok().filter(|number| (1..=MAX_USER_NUMBER).contains(number))?;
    (number.to_string() == id).then_some(number)
}

/// The numbers of users who have `portal_id` if they have no old id of the portal.
pub fn numbers_with_portal_id(portal_id: i64) -> impl Iterator<Item = i64> {
    [portal_id, portal_id.saturating_add(FIRST_USER_NUMBER - 1)]
        .into_iter()
        .filter(move |&number| sequential_id(number) == portal_id)
}
