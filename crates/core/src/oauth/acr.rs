//! The authentication context class (`acr`, OpenID Connect Core 2): how strong a login was.

use strum::{EnumIter, IntoEnumIterator as _};

/// How strong a login was; a later variant is stronger. A token never claims more than the login that it goes back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EnumIter)]
pub enum Acr {
    /// A salted or bare md5 digest of the password: who reads the digest from the wire or the old database can log in.
    Legacy,
    /// A password.
    Password,
    /// A password and a second factor.
    MultiFactor,
}

impl Acr {
    /// Every class, the weakest first.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::iter()
    }

    /// The value of the claim `acr`: `urn:stele:acr:legacy`, `…:pwd` or `…:mfa`.
    pub const fn uri(self) -> &'static str {
        match self {
            Self::Legacy => "urn:stele:acr:legacy",
            Self::Password => "urn:stele:acr:pwd",
            Self::MultiFactor => "urn:stele:acr:mfa",
        }
    }

    /// The word in settings and headers: `legacy`, `pwd` or `mfa`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Legacy => "legacy",
            Self::Password => "pwd",
            Self::MultiFactor => "mfa",
        }
    }

    /// Parses a value of the claim `acr`; `None` for any other text.
    pub fn parse_uri(text: &str) -> Option<Self> {
        Self::iter().find(|acr| acr.uri() == text)
    }

    /// Parses the word of a setting; `None` for any other text.
    pub fn parse_word(text: &str) -> Option<Self> {
        Self::iter().find(|acr| acr.word() == text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_ordered_and_round_trip() {
        assert!(Acr::Legacy < Acr::Password && Acr::Password < Acr::MultiFactor);
        assert!(Acr::all().is_sorted());
        for acr in Acr::all() {
            assert_eq!((Acr::parse_uri(acr.uri()), Acr::parse_word(acr.word())), (Some(acr), Some(acr)));
            assert_eq!(acr.uri(), format!("urn:stele:acr:{}", acr.word()));
        }
        for bad in ["", "pwd ", "PWD", "urn:stele:acr:phr", "URN:stele:acr:pwd"] {
            assert_eq!((Acr::parse_uri(bad), Acr::parse_word(bad)), (None, None), "{bad}");
        }
    }
}
