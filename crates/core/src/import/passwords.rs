//! Common passwords among the imported ones. They are counted and imported like others; which users have them is not
//! recorded, since that would show whose account to guess first.

/// What the lists of common passwords say of a row's password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordCheck {
    /// The password is on a list.
    Common,
    /// The password is on no list.
    NotListed,
    /// The row has another hash than `D`, from which this cannot be seen.
    NotChecked,
}

/// How many users got a password from a row, by what the lists say of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PasswordCounts {
    /// Passwords that were looked up in the lists.
    pub checked: u64,
    /// Passwords among these that are on a list.
    pub common: u64,
    /// Hashes from which this cannot be seen: bcrypt, argon2id, and salted ones.
    pub not_checked: u64,
}

impl PasswordCounts {
    /// Counts one more password.
    pub fn count(&mut self, check: PasswordCheck) {
        match check {
            PasswordCheck::Common => {
                self.checked += 1;
                self.common += 1;
            }
            PasswordCheck::NotListed => self.checked += 1,
            PasswordCheck::NotChecked => self.not_checked += 1,
        }
    }

    /// These counts and `other` together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            checked: self.checked + other.checked,
            common: self.common + other.common,
            not_checked: self.not_checked + other.not_checked,
        }
    }
}

impl std::fmt::Display for PasswordCounts {
    /// A line of `stele import`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { checked, common, not_checked } = self;
        write!(f, "common passwords: {common} of {checked} checked; {not_checked} other hashes cannot be checked")
    }
}
