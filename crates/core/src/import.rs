//! Import of existing users: the rows of a source, and the outcome that each of them has.
//!
//! A row is identified by its source and its old id, and its content by a keyed hash, so that a second import of the same
//! rows changes nothing. Every row has exactly one [`RowOutcome`]. [`decide`] is pure;
//! [`Importer`](crate::usecase::import::Importer) looks up what it needs, and writes what it decides.

mod claims;
mod decision;
mod passwords;
mod refusal;
mod row;

pub use claims::{IdClaims, PORTAL, derived_number};
pub use decision::{Decision, IdentifierOwner, ImportLookup, ImportRules, KnownRow, Merger, decide};
pub use passwords::{PasswordCheck, PasswordCounts};
pub use refusal::{Field, Refusal};
pub use row::{ContentHash, ImportRow, MAX_USER_NUMBER, MergeRule, OldId, SourceName, SourceRow};

/// The number of an import run.
pub type RunId = i64;

/// What an import did with a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowOutcome {
    /// The row became a new user.
    Add,
    /// The row was imported before and has not changed.
    Same,
    /// The row was joined to an existing user.
    Merge,
    /// As [`Merge`](Self::Merge), and the user keeps a password that is not known to be the row's.
    MergeKeepingPassword,
    /// The row was not imported.
    Refuse(Refusal),
}

impl RowOutcome {
    /// `add`, `same`, `merge` or `refuse`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Same => "same",
            Self::Merge | Self::MergeKeepingPassword => "merge",
            Self::Refuse(_) => "refuse",
        }
    }

    /// The code of the reason, if the outcome has one: of a refusal, or [`PASSWORD_KEPT`].
    pub fn code(self) -> Option<String> {
        match self {
            Self::Refuse(refusal) => Some(refusal.code()),
            Self::MergeKeepingPassword => Some(PASSWORD_KEPT.to_owned()),
            Self::Add | Self::Same | Self::Merge => None,
        }
    }

    /// The sentence of the reason, with the remedy. Never a value of the row.
    pub fn reason(self) -> Option<String> {
        match self {
            Self::Refuse(refusal) => Some(refusal.to_string()),
            Self::MergeKeepingPassword => Some(PASSWORD_KEPT_REASON.to_owned()),
            Self::Add | Self::Same | Self::Merge => None,
        }
    }
}

/// The code of [`RowOutcome::MergeKeepingPassword`].
pub const PASSWORD_KEPT: &str = "password_kept";

const PASSWORD_KEPT_REASON: &str = "the user keeps the password of an earlier source, which is another one or cannot be \
    compared with the row's; import the source first whose passwords are to stay";

/// How many rows had each outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutcomeCounts {
    /// Rows that became new users.
    pub added: u64,
    /// Rows that were imported before.
    pub same: u64,
    /// Rows that were joined to existing users.
    pub merged: u64,
    /// Rows that were not imported.
    pub refused: u64,
}

impl OutcomeCounts {
    /// Counts one more row.
    pub fn count(&mut self, outcome: RowOutcome) {
        match outcome {
            RowOutcome::Add => self.added += 1,
            RowOutcome::Same => self.same += 1,
            RowOutcome::Merge | RowOutcome::MergeKeepingPassword => self.merged += 1,
            RowOutcome::Refuse(_) => self.refused += 1,
        }
    }

    /// These counts and `other` together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            added: self.added + other.added,
            same: self.same + other.same,
            merged: self.merged + other.merged,
            refused: self.refused + other.refused,
        }
    }

    /// The number of rows.
    pub fn total(self) -> u64 {
        self.added + self.same + self.merged + self.refused
    }
}

impl std::fmt::Display for OutcomeCounts {
    /// The last line of `stele import`: scripts read it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { added, same, merged, refused } = self;
        write!(f, "added {added} same {same} merged {merged} refused {refused}")
    }
}
