//! The settings that choose between interpretations of the API document (`docs/PROTOCOLS.md`, TMS).

use stele_core::time::Offset;
use stele_service::setting::{parsed, with_default};
use stele_service::{ConfigError, Settings};

stele_service::settings! {
    /// The settings of this dialect.
    pub(crate) const SETTINGS = "STELE_";
    /// the format of TMS passwords: salted, `md5(D+timestamp)`; digest, `D` itself; or either
    TMS_PROOF: ProofFormat = parsed(ProofFormat::parse, "salted, digest or either", "either");
    /// the UTC offset of times in TMS responses
    TMS_TZ: Offset = parsed(parse_offset, "Z or ±HH:MM", "+08:00");
    /// whether TMS logins require a token in `Authorization`
    TMS_REQUIRE_TOKEN: bool = with_default("true");
}

/// The format of passwords on the wire. The API document leaves it open ("password是已经md5加密过的密码").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProofFormat {
    /// `md5(D + timestamp)`
    Salted,
    /// `D`
    Digest,
    /// Either of the two.
    Either,
}

/// The configured interpretation of the API document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DialectConfig {
    pub(crate) proof_format: ProofFormat,
    pub(crate) offset: Offset,
    pub(crate) requires_token: bool,
}

impl DialectConfig {
    pub(crate) fn from_settings(settings: &Settings) -> Result<Self, ConfigError> {
        Ok(Self {
            proof_format: settings.get(&TMS_PROOF)?,
            offset: settings.get(&TMS_TZ)?,
            requires_token: settings.get(&TMS_REQUIRE_TOKEN)?,
        })
    }
}

impl ProofFormat {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "salted" => Ok(Self::Salted),
            "digest" => Ok(Self::Digest),
            "either" => Ok(Self::Either),
            _ => Err(format!("`{text}` is not a proof format; set salted, digest or either")),
        }
    }
}

fn parse_offset(text: &str) -> Result<Offset, String> {
    Offset::parse(text).ok_or_else(|| format!("`{text}` is not a UTC offset; set Z or ±HH:MM, for example +08:00"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_config(values: &[(&'static str, &str)]) -> Result<DialectConfig, ConfigError> {
        DialectConfig::from_settings(
            &Settings::default().with_values(values.iter().map(|(name, text)| (*name, (*text).to_owned()))),
        )
    }

    #[test]
    fn the_defaults_match_the_documentation() {
        let defaults = DialectConfig { proof_format: ProofFormat::Either, offset: Offset::CHINA, requires_token: true };
        assert_eq!(parse_config(&[]).unwrap(), defaults);
        let set = [("STELE_TMS_PROOF", "digest"), ("STELE_TMS_TZ", "Z"), ("STELE_TMS_REQUIRE_TOKEN", "false")];
        assert_eq!(
            parse_config(&set).unwrap(),
            DialectConfig { proof_format: ProofFormat::Digest, offset: Offset::UTC, requires_token: false }
        );
    }

    #[test]
    fn an_invalid_setting_is_reported_with_its_value() {
        for (name, value) in
            [("STELE_TMS_PROOF", "Salted"), ("STELE_TMS_TZ", "Asia/Shanghai"), ("STELE_TMS_REQUIRE_TOKEN", "maybe")]
        {
            let error = parse_config(&[(name, value)]).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(value), "{error}");
        }
    }
}
