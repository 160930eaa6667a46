//! Scopes (RFC 6749 3.3): sets of scope tokens.

use std::collections::BTreeSet;
use std::fmt;

/// The most bytes of a scope as text.
const MAX_LENGTH: usize = 1_024;

/// A set of scope tokens; empty by default. Its text form is sorted, with one space between two tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Scope(BTreeSet<String>);

impl Scope {
    /// Parses scope tokens with one space between two of them (RFC 6749 3.3): at most 1,024 bytes of printable ASCII
    /// without `"` and `\`. The empty text is the empty scope. `None` for anything else. A repeated token counts once.
    pub fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self::default());
        }
        let is_valid = text.len() <= MAX_LENGTH && text.split(' ').all(is_scope_token);
        is_valid.then(|| Self(text.split(' ').map(str::to_owned).collect()))
    }

    /// Whether the scope has no token.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text form; `None` for the empty scope, which responses and claims leave out, because the syntax has no empty
    /// text (RFC 6749 3.3).
    pub fn to_text(&self) -> Option<String> {
        (!self.is_empty()).then(|| self.to_string())
    }

    /// Whether every token of this scope is one of `other`'s.
    pub fn is_subset_of(&self, other: &Self) -> bool {
        self.0.is_subset(&other.0)
    }

    /// The tokens of this scope that are also `other`'s.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        Self(self.0.intersection(&other.0).cloned().collect())
    }

    /// The tokens, sorted.
    pub fn tokens(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

fn is_scope_token(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic() && !b"\"\\".contains(&b))
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, token) in self.tokens().enumerate() {
            write!(f, "{}{token}", if index == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scope_syntax_follows_rfc_6749_section_3_3() {
        let scope = Scope::parse("write read write orders:read").unwrap();
        assert_eq!(scope.to_string(), "orders:read read write");
        assert_eq!(scope.tokens().collect::<Vec<_>>(), ["orders:read", "read", "write"]);
        assert_eq!(scope.to_text().as_deref(), Some("orders:read read write"));
        assert_eq!(Scope::parse("").unwrap().to_text(), None);
        let too_long = "a".repeat(MAX_LENGTH + 1);
        assert!(Scope::parse(&too_long[1..]).is_some());
        for bad in [" ", " a", "a ", "a  b", "a\tb", "a\"b", "a\\b", "é", "a\u{7f}", "a\nb", "a\0", &too_long] {
            assert_eq!(Scope::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_subset_has_no_further_token() {
        let [none, read, both] = ["", "read", "read write"].map(|text| Scope::parse(text).unwrap());
        assert!(none.is_subset_of(&read) && read.is_subset_of(&read) && read.is_subset_of(&both));
        assert!(!both.is_subset_of(&read) && !read.is_subset_of(&none));
        assert!(!Scope::parse("READ").unwrap().is_subset_of(&both));
    }
}
