//! Dialects that answer failures with HTTP 200 (`STELE_STATUS_200`), for clients that treat any other status as a
//! network error and never read the body (Volley, AFNetworking).
//!
//! Service and gateway each apply the setting to their own responses. A service sends the original status in
//! [`ORIGINAL_STATUS_HEADER`] for the gateway's access log and metrics; the gateway removes the header.

use crate::setting::parsed;

crate::settings! {
    /// The HTTP status of failures.
    pub const SETTINGS = "STELE_";
    /// dialects that answer all failures with HTTP 200 and the error code in the body; set it for the gateway and the
    /// services
    pub STATUS_200: Status200 = parsed(Status200::parse, "names of dialects, separated by commas", "");
}

/// Header with the status that a response with 200 would otherwise have.
pub const ORIGINAL_STATUS_HEADER: &str = "x-stele-status";

/// All dialects.
const DIALECT_NAMES: &[&str] = &[
    // dialects: names
    "cloudbox", "tms", "portal", "mefp", "jwt",
    // dialects: end
];

/// The value of `STELE_STATUS_200`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status200(Vec<&'static str>);

impl Status200 {
    /// Parses names separated by commas.
    ///
    /// # Errors
    /// Names the first unknown dialect and lists the known ones.
    pub fn parse(text: &str) -> Result<Self, String> {
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        let parse_name = |name: &str| {
            let dialect = DIALECT_NAMES.iter().find(|dialect| **dialect == name).copied();
            dialect.ok_or_else(|| format!("`{name}` is not a dialect; the dialects are {}", DIALECT_NAMES.join(", ")))
        };
        names.map(parse_name).collect::<Result<_, _>>().map(Self)
    }

    /// Whether failures of this dialect are answered with 200.
    pub fn applies_to(&self, dialect: &str) -> bool {
        self.0.contains(&dialect)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_dialect_names_are_accepted() {
        assert_eq!(Status200::parse(" , "), Ok(Status200::default()));
        let status_200 = Status200::parse("cloudbox, jwt").unwrap();
        assert_eq!(["cloudbox", "jwt", "tms", ""].map(|name| status_200.applies_to(name)), [true, true, false, false]);
        let error = Status200::parse("cloudbox,Portal").unwrap_err();
        assert!(error.contains("`Portal`") && error.contains("cloudbox, tms, portal, mefp, jwt"), "{error}");
    }
}
