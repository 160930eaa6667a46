//! Audit events: the action, outcome, subject and client of each use case, for metrics and the audit log.
//!
//! Each use case with an [`Action`] records one event, whether it succeeds, fails or is interrupted. An event cannot
//! hold a secret: action and outcome are words of a closed list, and names are those of existing records.

mod subject;

use std::net::IpAddr;
use std::sync::Arc;

use strum::{EnumIter, IntoEnumIterator as _, IntoStaticStr};

use crate::code::CodePurpose;
use crate::dialect_use::ClientName;
use crate::oauth::SubjectTokenType;
use crate::origin::Origin;
use crate::proof::ProofKind;
use crate::session::DialectName;
use crate::time::Timestamp;
use crate::{Error, Result};

pub use subject::{RecordName, Subject};

/// An audit event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When the use case ended.
    pub at: Timestamp,
    /// The action that was requested.
    pub action: Action,
    /// The outcome of the use case.
    pub outcome: Outcome,
    /// The user, app, client token or key that the event concerns; `None` if unknown.
    pub subject: Option<Subject>,
    /// The entry point of the client's request; `None` for an administrator's action.
    pub entry_point: Option<EntryPoint>,
    /// The client's address, name and request id; `None` for an administrator's action. Use cases leave this `None`, and the
    /// service adds it.
    pub client: Option<RequestSource>,
}

impl Event {
    /// The event of an administrator's action that ended at `at`.
    pub fn by_administrator(at: Timestamp, action: Action, outcome: Outcome, subject: Option<Subject>) -> Self {
        Self { at, action, outcome, subject, entry_point: None, client: None }
    }
}

/// The dialect, app and origin of a client's request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryPoint {
    /// The dialect.
    pub dialect: DialectName,
    /// The app that called on the user's behalf; empty if the client called directly.
    pub app: String,
    /// The name of the client token that the request carried (TMS); empty if it carried none.
    pub client_token: String,
    /// The origin that rate limits count the request under, if the action has rate limits.
    pub origin: Option<Origin>,
}

/// The client address, client name and request id of the HTTP request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestSource {
    /// The full client address.
    pub address: IpAddr,
    /// The request id.
    pub request_id: RequestId,
    /// The client by the operator's list of clients; `None` if the list does not name it.
    pub client_name: Option<ClientName>,
}

/// Identifies a request in logs, traces and the audit log of the gateway and every service: 1 to 64 letters, digits,
/// `.`, `_` and `-`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// Parses a request id; `None` if `text` is not a valid request id.
    pub fn parse(text: impl Into<Arc<str>>) -> Option<Self> {
        let text = text.into();
        let is_allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        ((1..=64).contains(&text.len()) && text.bytes().all(is_allowed)).then_some(Self(text))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The action that a client or an administrator requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Action {
    /// Log in with this proof.
    Login(ProofKind),
    /// Change a password with this proof of the old one.
    ChangePassword(ProofKind),
    /// Register an account with a code.
    Register,
    /// Set a password with a code.
    ResetPassword,
    /// Exchange a code for a reset token.
    GrantReset,
    /// Set a password with a reset token or a recent login.
    SetPassword,
    /// Send a code.
    SendCode(CodePurpose),
    /// Check a code without consuming it.
    CheckCode,
    /// Issue a captcha.
    IssueCaptcha,
    /// Issue a ticket that hands a user over to another app.
    IssueTicket,
    /// Redeem a ticket that hands a user over to another app.
    RedeemTicket,
    /// End a session.
    Logout,
    /// Reach a host and path behind a reverse proxy. Recorded only if a known user is denied.
    CheckAccess,
    /// Issue an access token to a client for itself.
    IssueToken,
    /// Exchange a token of this type for an access token.
    ExchangeToken(SubjectTokenType),
    /// Introspect a token. Recorded only if the resource server fails to authenticate.
    IntrospectToken,
    /// Revoke an access token.
    RevokeToken,
    /// Take over a user's password from an old server.
    MigratePassword,
    /// Add a user (administrator).
    AddUser,
    /// Set a user's password (administrator).
    ProvisionPassword,
    /// Add passwords to the operator's list of common passwords (administrator).
    LoadPasswords,
    /// Empty the operator's list of common passwords (administrator).
    ClearPasswords,
    /// Import users from a source (administrator).
    ImportUsers,
    /// Take an import back (administrator).
    UndoImport,
    /// Export the users of a source (administrator).
    ExportUsers,
    /// Export the users of a source with the digests of their passwords (administrator).
    ExportDigests,
    /// Disable a user (administrator).
    Disable,
    /// Enable a user (administrator).
    Enable,
    /// End one session or all sessions of a user (administrator).
    EndSession,
    /// Register an app (administrator).
    AddApp,
    /// Add a client token (administrator).
    AddClientToken,
    /// Register an OAuth client (administrator).
    #[strum(serialize = "add_oauth_client")]
    AddOAuthClient,
    /// Give an OAuth client a new secret (administrator).
    RotateClientSecret,
    /// Remove an OAuth client (administrator).
    #[strum(serialize = "remove_oauth_client")]
    RemoveOAuthClient,
    /// Register a resource server (administrator).
    AddResource,
    /// Give a resource server a new secret (administrator).
    RotateResourceSecret,
    /// Remove a resource server (administrator).
    RemoveResource,
    /// Register a sealing or signing key (administrator).
    AddKey,
    /// Reseal rows under the active sealing key (administrator).
    Reseal,
    /// Retire a sealing or signing key (administrator).
    RetireKey,
    /// Disable salted logins (administrator).
    #[strum(serialize = "end_salted")]
    DisableSaltedLogins,
    /// Enable salted logins again (administrator).
    #[strum(serialize = "allow_salted")]
    EnableSaltedLogins,
    /// Schedule a brown-out of a dialect (administrator).
    ScheduleBrownout,
    /// Cancel a brown-out of a dialect (administrator).
    CancelBrownout,
    /// Switch a dialect off (administrator).
    SwitchDialectOff,
    /// Switch a dialect on again (administrator).
    SwitchDialectOn,
}

impl Action {
    /// Every action, each once; those with a proof or a purpose are listed with the default one.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::iter()
    }

    /// The name in metrics and the audit log.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The kind of rate limit that [`Outcome::RateLimited`] means for this action.
    pub fn rate_limit_kind(self) -> RateLimitKind {
        match self {
            Self::SendCode(_) => RateLimitKind::Send,
            Self::IssueCaptcha => RateLimitKind::Captcha,
            Self::Register | Self::ResetPassword | Self::GrantReset | Self::CheckCode => RateLimitKind::Code,
            _ => RateLimitKind::Password,
        }
    }
}

/// The kinds of rate limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum RateLimitKind {
    /// On guessing passwords.
    Password,
    /// On guessing codes.
    Code,
    /// On sending codes.
    Send,
    /// On issuing captchas.
    Captcha,
}

impl RateLimitKind {
    /// Every kind.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::iter()
    }

    /// The name in metrics and the audit log.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// The outcome of a use case: done, one word for each error ([`Error`], [`crate::oauth::OAuthError`]), or interrupted by
/// the client's disconnect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
#[expect(missing_docs, reason = "each outcome is explained at the error of the same name")]
pub enum Outcome {
    #[strum(serialize = "ok")]
    Done,
    Invalid,
    UnknownUser,
    WrongPassword,
    Stale,
    Replayed,
    Disabled,
    ChallengeRequired,
    ChallengeFailed,
    WrongCode,
    CommonPassword,
    #[strum(serialize = "taken")]
    IdentifierTaken,
    NotAuthenticated,
    NotAllowed,
    TicketRefused,
    #[strum(serialize = "too_many")]
    RateLimited,
    Busy,
    Unavailable,
    Internal,
    InvalidClient,
    InvalidTarget,
    InvalidScope,
    /// The client disconnected before the use case ended. Changes that the stores had recorded by then are kept.
    #[strum(serialize = "abandoned")]
    ClientDisconnected,
}

impl Outcome {
    /// Every outcome.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::iter()
    }

    /// The outcome of a use case with this result.
    pub fn from_result<T>(result: &Result<T>) -> Self {
        result.as_ref().map_or_else(Self::from_error, |_| Self::Done)
    }

    /// The outcome of a use case that failed with `error`.
    pub(crate) fn from_error(error: &Error) -> Self {
        match error {
            Error::Invalid(_) => Self::Invalid,
            Error::UnknownUser => Self::UnknownUser,
            Error::WrongPassword => Self::WrongPassword,
            Error::Stale => Self::Stale,
            Error::Replayed => Self::Replayed,
            Error::Disabled => Self::Disabled,
            Error::ChallengeRequired => Self::ChallengeRequired,
            Error::ChallengeFailed => Self::ChallengeFailed,
            Error::WrongCode => Self::WrongCode,
            Error::CommonPassword => Self::CommonPassword,
            Error::IdentifierTaken => Self::IdentifierTaken,
            Error::NotAuthenticated => Self::NotAuthenticated,
            Error::NotAllowed => Self::NotAllowed,
            Error::TicketRefused => Self::TicketRefused,
            Error::RateLimited { .. } => Self::RateLimited,
            Error::Busy { .. } => Self::Busy,
            Error::Unavailable(_) => Self::Unavailable,
            Error::Internal(_) => Self::Internal,
        }
    }

    /// The name in metrics and the audit log.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_have_1_to_64_letters_digits_dots_hyphens_and_underscores() {
        assert_eq!(RequestId::parse("a.B-9_").unwrap().as_str(), "a.B-9_");
        let too_long = "x".repeat(65);
        for bad in ["", "a b", "a\"", "é", "a\n", too_long.as_str()] {
            assert!(RequestId::parse(bad).is_none(), "{bad:?}");
        }
    }
}
