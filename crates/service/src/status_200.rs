//! Dialects whose failures are answered with HTTP 200: for clients that treat any other status as a network error and never
//! read the body (Volley, AFNetworking).
//!
//! Service and gateway both apply it, each to what it answers itself. A service says the status that it would have been in
//! [`ORIGINAL_STATUS_HEADER`], so that the gateway's log and metrics have it; the gateway removes the header.

use crate::setting::parsed;

crate::settings! {
    /// The status of failures.
    pub const SETTINGS = "STELE_";
    /// dialects that answer all their failures with HTTP 200 and their code in the body; for the gateway and the
    /// services alike
    pub STATUS_200: Status200 = parsed(Status200::parse, "names of dialects, by commas", "");
}

/// The status that an answer with 200 would have had.
pub const ORIGINAL_STATUS_HEADER: &str = "x-stele-status";

/// The dialects there are.
const DIALECT_NAMES: &[&str] = &[
    // dialects: names
    "cloudbox", "tms", "portal", "mefp", "jwt",
    // dialects: end
];

/// `STELE_STATUS_200`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status200(Vec<&'static str>);

impl Status200 {
    /// Reads names, separated by commas.
    ///
    /// # Errors
    /// The first name that is no dialect's, and those that are.
    pub fn parse(text: &str) -> Result<Self, String> {
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        let known = |name: &str| {
            let found = DIALECT_NAMES.iter().find(|known| **known == name).copied();
            found.ok_or_else(|| format!("`{name}` is no dialect; there are {}", DIALECT_NAMES.join(", ")))
        };
        names.map(known).collect::<Result<_, _>>().map(Self)
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
    fn unknown_dialect_names_are_rejected() {
        assert_eq!(Status200::parse(" , "), Ok(Status200::default()));
        let some = Status200::parse("cloudbox, jwt").unwrap();
        assert_eq!(["cloudbox", "jwt", "tms", ""].map(|name| some.applies_to(name)), [true, true, false, false]);
        let error = Status200::parse("cloudbox,Portal").unwrap_err();
        assert!(error.contains("`Portal`") && error.contains("cloudbox, tms, portal, mefp, jwt"), "{error}");
    }
}
