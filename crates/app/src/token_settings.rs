//! The settings of signed tokens, which all services share: those of the JWT dialect's login tokens, which other services
//! verify.

use stele_core::oauth::SigningAlgorithm;
use stele_service::setting::parsed;

stele_service::settings! {
    /// Signed tokens.
    pub const SETTINGS = "STELE_";
    /// the signature algorithm of the JWT dialect's login tokens
    pub JWT_ALG: SigningAlgorithm = parsed(parse_algorithm, "EdDSA, RS256 or ES256", "EdDSA");
    /// the issuer (`iss`) of the JWT dialect's login tokens
    pub JWT_ISSUER: String = parsed(parse_issuer, "a text", "stele");
}

/// The longest `STELE_JWT_ISSUER`, in bytes: every token contains it.
const MAX_ISSUER_BYTES: usize = 256;

fn parse_algorithm(text: &str) -> Result<SigningAlgorithm, String> {
    SigningAlgorithm::parse(text).ok_or_else(|| format!("`{text}` is not a known algorithm; set EdDSA, RS256 or ES256"))
}

fn parse_issuer(text: &str) -> Result<String, String> {
    let is_short = text.len() <= MAX_ISSUER_BYTES;
    is_short
        .then(|| text.to_owned())
        .ok_or_else(|| format!("is longer than {MAX_ISSUER_BYTES} bytes; set a shorter issuer"))
}

#[cfg(test)]
mod tests {
    use stele_service::{ConfigError, Settings};

    use super::*;

    fn issuer(text: &str) -> Result<String, ConfigError> {
        Settings::default().with_values([("STELE_JWT_ISSUER", text.to_owned())]).get(&JWT_ISSUER)
    }

    #[test]
    fn an_unknown_algorithm_is_rejected() {
        for invalid in ["none", "HS256", "eddsa"] {
            let settings = Settings::default().with_values([("STELE_JWT_ALG", invalid.to_owned())]);
            let error = settings.get(&JWT_ALG).unwrap_err().to_string();
            assert!(error.contains("STELE_JWT_ALG") && error.contains(invalid), "{error}");
        }
        assert_eq!(Settings::default().get(&JWT_ALG), Ok(SigningAlgorithm::EdDsa));
    }

    #[test]
    fn an_overlong_issuer_is_rejected() {
        assert_eq!(issuer(""), Ok("stele".to_owned()));
        assert_eq!(issuer("https://auth.example.com"), Ok("https://auth.example.com".to_owned()));
        assert!(issuer(&"x".repeat(257)).err().unwrap().to_string().contains("STELE_JWT_ISSUER"));
    }
}
