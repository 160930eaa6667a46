//! The settings of signed tokens and of the public URL, which all services share: other services verify the JWT dialect's
//! login tokens.

use actix_web::http::Uri;
use stele_core::oauth::SigningAlgorithm;
use stele_service::setting::parsed;

stele_service::settings! {
    /// Signed tokens.
    pub const SETTINGS = "STELE_";
    /// the signature algorithm of the JWT dialect's login tokens
    pub JWT_ALG: SigningAlgorithm = parsed(parse_algorithm, "EdDSA, RS256 or ES256", "EdDSA");
    /// the issuer (`iss`) of the JWT dialect's login tokens
    pub JWT_ISSUER: String = parsed(parse_issuer, "a text", "stele");
    /// the URL at which clients reach the gateway: the issuer (`iss`) of access tokens, which must be https except on
    /// loopback, and the start of the JWT dialect's captcha URLs; without it the issuer is the listening address, if that
    /// is on loopback, and captcha URLs are paths
    pub PUBLIC_URL: String = parsed(parse_public_url, "such as https://auth.example.com", "");
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

/// Parses an HTTP URL without query, fragment and user name; a slash at the end is removed. Empty for none.
fn parse_public_url(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Ok(String::new());
    }
    let url = text.trim_end_matches('/');
    let uri: Option<Uri> = url.parse().ok();
    let is_http = |uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https"));
    let has_no_query_or_userinfo =
        |uri: &Uri| uri.host().is_some_and(|host| !host.is_empty()) && !url.contains(['?', '#', '@']);
    let is_valid = uri.is_some_and(|uri| is_http(&uri) && has_no_query_or_userinfo(&uri));
    is_valid
        .then(|| url.to_owned())
        .ok_or_else(|| format!("`{text}` is not an HTTP URL; set one such as https://auth.example.com"))
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

    fn parse_public_url_setting(text: &str) -> Result<String, ConfigError> {
        Settings::default().with_values([("STELE_PUBLIC_URL", text.to_owned())]).get(&PUBLIC_URL)
    }

    #[test]
    fn an_invalid_public_url_is_rejected() {
        assert_eq!(parse_public_url_setting(""), Ok(String::new()));
        assert_eq!(parse_public_url_setting("https://auth.example.com/"), Ok("https://auth.example.com".to_owned()));
        assert_eq!(parse_public_url_setting("http://10.0.0.1:8080/base"), Ok("http://10.0.0.1:8080/base".to_owned()));
        for invalid in
            ["auth.example.com", "ftp://a", "https://", "https://a?b", "https://a#b", "https://a@b", "//a", "a b"]
        {
            let error = parse_public_url_setting(invalid).err().map(|e| e.to_string()).unwrap_or_default();
            assert!(error.contains("STELE_PUBLIC_URL"), "{invalid}: {error}");
        }
    }
}
