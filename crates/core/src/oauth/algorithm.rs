//! Signature algorithms of access tokens (RFC 7518 3.1, RFC 8037 3.1).

use strum::{EnumIter, EnumString, IntoEnumIterator as _, IntoStaticStr};

/// The algorithm that signs a client's access tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, EnumIter, EnumString, IntoStaticStr)]
pub enum SigningAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256, which every resource server must support (RFC 9068 2.1).
    #[default]
    #[strum(serialize = "RS256")]
    Rs256,
    /// Ed25519.
    #[strum(serialize = "EdDSA")]
    EdDsa,
    /// ECDSA with P-256 and SHA-256.
    #[strum(serialize = "ES256")]
    Es256,
}

impl SigningAlgorithm {
    /// Every algorithm.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::iter()
    }

    /// The value of the header parameter `alg`: `RS256`, `EdDSA` or `ES256`.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Parses `RS256`, `EdDSA` or `ES256`; `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn algorithms_round_trip_and_others_are_unknown() {
        let names: Vec<_> = SigningAlgorithm::all().map(SigningAlgorithm::as_str).collect();
        assert_eq!(names, ["RS256", "EdDSA", "ES256"]);
        assert!(
            SigningAlgorithm::all().all(|algorithm| SigningAlgorithm::parse(algorithm.as_str()) == Some(algorithm))
        );
        assert_eq!(SigningAlgorithm::default(), SigningAlgorithm::Rs256);
        for bad in ["none", "HS256", "rs256", "RS512", ""] {
            assert_eq!(SigningAlgorithm::parse(bad), None, "{bad}");
        }
    }
}
