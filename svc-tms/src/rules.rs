//! The settings that choose between the readings of the API document (`docs/PROTOCOLS.md`, TMS).

use stele_core::time::Offset;
use stele_service::setting::{parsed, value};
use stele_service::{ConfigError, Settings};

stele_service::settings! {
    /// The settings of this dialect.
    pub(crate) const SETTINGS = "STELE_";
    /// what a TMS password is: salted, `md5(D+timestamp)`; digest, `D` itself; either
    TMS_PROOF: Reading = parsed(Reading::parse, "salted, digest or either", "either");
    /// the offset of TMS times
    TMS_TZ: Offset = parsed(offset, "Z or ±HH:MM", "+08:00");
    /// whether TMS logins need a token in `Authorization`
    TMS_REQUIRE_TOKEN: bool = value("true");
}

/// What a password on the wire is ("password是已经md5加密过的密码" does not say).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// `md5(D + timestamp)`
    Salted,
    /// `D`
    Digest,
    /// One of the two.
    Either,
}

/// The readings in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    pub(crate) proof: Reading,
    pub(crate) offset: Offset,
    pub(crate) require_token: bool,
}

impl Rules {
    pub(crate) fn from_settings(settings: &Settings) -> Result<Self, ConfigError> {
        let (proof, offset) = (settings.get(&TMS_PROOF)?, settings.get(&TMS_TZ)?);
        Ok(Self { proof, offset, require_token: settings.get(&TMS_REQUIRE_TOKEN)? })
    }
}

impl Reading {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "salted" => Ok(Self::Salted),
            "digest" => Ok(Self::Digest),
            "either" => Ok(Self::Either),
            _ => Err(format!("`{text}` is none of salted, digest, either")),
        }
    }
}

fn offset(text: &str) -> Result<Offset, String> {
    Offset::parse(text).ok_or_else(|| format!("`{text}` is not an offset; write Z, or for example +08:00"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(values: &[(&'static str, &str)]) -> Result<Rules, ConfigError> {
        Rules::from_settings(&Settings::default().with(values.iter().map(|(name, text)| (*name, (*text).to_owned()))))
    }

    #[test]
    fn the_defaults_are_the_designs() {
        let defaults = Rules { proof: Reading::Either, offset: Offset::CHINA, require_token: true };
        assert_eq!(rules(&[]).unwrap(), defaults);
        let set = [("STELE_TMS_PROOF", "digest"), ("STELE_TMS_TZ", "Z"), ("STELE_TMS_REQUIRE_TOKEN", "false")];
        assert_eq!(rules(&set).unwrap(), Rules { proof: Reading::Digest, offset: Offset::UTC, require_token: false });
    }

    #[test]
    fn a_bad_setting_is_named_with_its_value() {
        for (name, value) in
            [("STELE_TMS_PROOF", "Salted"), ("STELE_TMS_TZ", "Asia/Shanghai"), ("STELE_TMS_REQUIRE_TOKEN", "maybe")]
        {
            let error = rules(&[(name, value)]).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(value), "{error}");
        }
    }
}
