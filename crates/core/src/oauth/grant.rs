//! Grant types of the token endpoint.

use strum::{EnumIter, EnumString, IntoEnumIterator as _, IntoStaticStr};

/// A grant that a client may use. There is no password grant (RFC 9700 2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EnumIter, EnumString, IntoStaticStr)]
pub enum Grant {
    /// A token for the client itself (RFC 6749 4.4).
    #[strum(serialize = "client_credentials")]
    ClientCredentials,
    /// A token for the user of another token (RFC 8693).
    #[strum(serialize = "token-exchange")]
    TokenExchange,
}

impl Grant {
    /// Every grant.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::iter()
    }

    /// The word on the command line and in the store: `client_credentials` or `token-exchange`.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Parses the word of the command line; `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    /// The value of the parameter `grant_type`.
    pub const fn grant_type(self) -> &'static str {
        match self {
            Self::ClientCredentials => "client_credentials",
            Self::TokenExchange => "urn:ietf:params:oauth:grant-type:token-exchange",
        }
    }

    /// Parses a value of the parameter `grant_type`; `None` for any other text.
    pub fn parse_grant_type(text: &str) -> Option<Self> {
        Self::iter().find(|grant| grant.grant_type() == text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_round_trip_and_others_are_unknown() {
        for grant in Grant::all() {
            assert_eq!(Grant::parse(grant.as_str()), Some(grant));
            assert_eq!(Grant::parse_grant_type(grant.grant_type()), Some(grant));
        }
        for bad in ["password", "implicit", "token-exchange ", ""] {
            assert_eq!(Grant::parse_grant_type(bad), None, "{bad}");
        }
        assert_eq!(Grant::parse("urn:ietf:params:oauth:grant-type:token-exchange"), None);
    }
}
