//! Kinds of tokens that can be exchanged for an access token (RFC 8693 2.1, `subject_token_type`) and introspected.
//!
//! All legacy tokens but one are 32 hex digits, so a request must name the kind, and the token is looked up as that
//! kind only.

use strum::{EnumIter, IntoEnumIterator as _};

use super::Acr;
use crate::session::DialectName;

/// How a legacy token is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenLookup {
    /// A session's bearer token.
    Session,
    /// The JWT dialect's signed login token, which names a session.
    LoginJwt,
    /// A one-time token that hands a user over to another app (MeFP); consumed by its exchange.
    Handover,
}

/// The kinds of legacy tokens: those that the dialects issue.
///
/// | name | dialect | lookup | acr |
/// | --- | --- | --- | --- |
/// | `cloudbox-session` | cloudbox | session | legacy |
/// | `tms-session` | tms | session | legacy |
/// | `portal-session` | portal | session | pwd |
/// | `mefp-handover` | mefp | handover | pwd |
/// | `jwt-login` | jwt | login JWT | pwd |
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EnumIter)]
#[expect(missing_docs, reason = "the table above explains them")]
pub enum LegacyTokenType {
    CloudboxSession,
    TmsSession,
    PortalSession,
    MefpHandover,
    JwtLogin,
}

/// The URN of the kind `$name`, as a static text.
macro_rules! urn {
    ($name:literal) => {
        concat!("urn:stele:token-type:", $name)
    };
}

impl LegacyTokenType {
    /// Every kind.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::iter()
    }

    /// The name on the command line and in the store: `cloudbox-session`, …
    pub fn name(self) -> &'static str {
        self.urn().strip_prefix(urn!("")).unwrap_or_default()
    }

    /// The value of `subject_token_type` and `token_type_hint`: `urn:stele:token-type:cloudbox-session`, …
    pub const fn urn(self) -> &'static str {
        match self {
            Self::CloudboxSession => urn!("cloudbox-session"),
            Self::TmsSession => urn!("tms-session"),
            Self::PortalSession => urn!("portal-session"),
            Self::MefpHandover => urn!("mefp-handover"),
            Self::JwtLogin => urn!("jwt-login"),
        }
    }

    /// The dialect that issues tokens of this kind.
    pub const fn dialect(self) -> DialectName {
        match self {
            Self::CloudboxSession => "cloudbox",
            Self::TmsSession => "tms",
            Self::PortalSession => "portal",
            Self::MefpHandover => "mefp",
            Self::JwtLogin => "jwt",
        }
    }

    /// How tokens of this kind are looked up.
    pub const fn lookup(self) -> TokenLookup {
        match self {
            Self::CloudboxSession | Self::TmsSession | Self::PortalSession => TokenLookup::Session,
            Self::MefpHandover => TokenLookup::Handover,
            Self::JwtLogin => TokenLookup::LoginJwt,
        }
    }

    /// How strong the login was that a token of this kind goes back to: cloudbox and TMS accept a digest of the
    /// password, the others the password.
    pub const fn acr(self) -> Acr {
        match self {
            Self::CloudboxSession | Self::TmsSession => Acr::Legacy,
            Self::PortalSession | Self::MefpHandover | Self::JwtLogin => Acr::Password,
        }
    }

    /// Whether tokens of this kind can be introspected. A one-time token cannot, because that would not consume it.
    pub fn can_be_introspected(self) -> bool {
        self.lookup() != TokenLookup::Handover
    }

    /// The kind of this name; `None` if there is none.
    pub fn parse(name: &str) -> Option<Self> {
        Self::iter().find(|kind| kind.name() == name)
    }

    /// The kind with this URN; `None` if there is none.
    pub fn parse_urn(urn: &str) -> Option<Self> {
        Self::iter().find(|kind| kind.urn() == urn)
    }

    /// The kind of the tokens that `dialect` issues; `None` for a dialect whose tokens cannot be exchanged.
    pub fn of_dialect(dialect: &str) -> Option<Self> {
        Self::iter().find(|kind| kind.dialect() == dialect)
    }
}

/// The kinds of tokens that can be exchanged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SubjectTokenType {
    /// A token that a dialect issued.
    Legacy(LegacyTokenType),
    /// An access token of this server, issued to the client that presents it.
    #[default]
    AccessToken,
}

impl SubjectTokenType {
    /// Every kind.
    pub fn all() -> impl Iterator<Item = Self> {
        LegacyTokenType::iter().map(Self::Legacy).chain([Self::AccessToken])
    }

    /// The name on the command line and in the store: that of the legacy kind, or `access-token`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Legacy(kind) => kind.name(),
            Self::AccessToken => "access-token",
        }
    }

    /// The value of `subject_token_type`: that of the legacy kind, or the one of RFC 8693 3 for access tokens.
    pub const fn urn(self) -> &'static str {
        match self {
            Self::Legacy(kind) => kind.urn(),
            Self::AccessToken => "urn:ietf:params:oauth:token-type:access_token",
        }
    }

    /// The kind of this name; `None` if there is none.
    pub fn parse(name: &str) -> Option<Self> {
        Self::all().find(|kind| kind.name() == name)
    }

    /// The kind with this URN; `None` if there is none.
    pub fn parse_urn(urn: &str) -> Option<Self> {
        Self::all().find(|kind| kind.urn() == urn)
    }
}

impl From<LegacyTokenType> for SubjectTokenType {
    fn from(kind: LegacyTokenType) -> Self {
        Self::Legacy(kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_legacy_kinds_is_complete() {
        let row = |kind: LegacyTokenType| (kind.name(), kind.dialect(), kind.lookup(), kind.acr().word());
        let rows: Vec<_> = LegacyTokenType::all().map(row).collect();
        assert_eq!(
            rows,
            [
                ("cloudbox-session", "cloudbox", TokenLookup::Session, "legacy"),
                ("tms-session", "tms", TokenLookup::Session, "legacy"),
                ("portal-session", "portal", TokenLookup::Session, "pwd"),
                ("mefp-handover", "mefp", TokenLookup::Handover, "pwd"),
                ("jwt-login", "jwt", TokenLookup::LoginJwt, "pwd"),
            ]
        );
        assert_eq!(LegacyTokenType::TmsSession.urn(), "urn:stele:token-type:tms-session");
        let hidden: Vec<_> = LegacyTokenType::all().filter(|kind| !kind.can_be_introspected()).collect();
        assert_eq!(hidden, [LegacyTokenType::MefpHandover]);
    }

    #[test]
    fn names_and_urns_round_trip_and_are_exact() {
        for kind in SubjectTokenType::all() {
            assert_eq!(SubjectTokenType::parse(kind.name()), Some(kind));
            assert_eq!(SubjectTokenType::parse_urn(kind.urn()), Some(kind));
        }
        for kind in LegacyTokenType::all() {
            assert_eq!(LegacyTokenType::parse(kind.name()), Some(kind));
            assert_eq!(LegacyTokenType::parse_urn(kind.urn()), Some(kind));
            assert_eq!(LegacyTokenType::of_dialect(kind.dialect()), Some(kind));
        }
        for bad in ["", "access_token", "urn:stele:token-type:", "urn:stele:token-type:CLOUDBOX-session"] {
            assert_eq!((SubjectTokenType::parse(bad), SubjectTokenType::parse_urn(bad)), (None, None), "{bad}");
        }
        // RFC 8693 3: refresh and id tokens are no subjects here.
        for bad in ["refresh_token", "id_token", "jwt", "saml2"] {
            let urn = format!("urn:ietf:params:oauth:token-type:{bad}");
            assert_eq!(SubjectTokenType::parse_urn(&urn), None, "{bad}");
        }
    }
}
