//! What happened: for whoever counts it, and for whoever keeps the trail.
//!
//! Every use case that a client or an administrator can call tells of itself once, whatever becomes of it. An event
//! holds no secret, for none of its types can: what was done and how it ended are words of a closed list, and names
//! are those of records that exist.

use std::net::IpAddr;
use std::sync::Arc;

use strum::{EnumIter, IntoEnumIterator as _, IntoStaticStr};

use crate::app::{App, ClientToken};
use crate::code::CodePurpose;
use crate::origin::Origin;
use crate::ports::KeyRecord;
use crate::proof::ProofKind;
use crate::session::DialectName;
use crate::time::Timestamp;
use crate::user::UserId;
use crate::{Error, Result};

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When it ended.
    pub at: Timestamp,
    /// What was asked.
    pub action: Action,
    /// How it ended.
    pub outcome: Outcome,
    /// Whom or what it concerned, as far as that is known.
    pub subject: Option<Subject>,
    /// By which door; `None` for what an administrator did.
    pub entry_point: Option<EntryPoint>,
    /// Who asked; `None` for what an administrator did, and until the chassis has filled it in.
    pub client: Option<RequestSource>,
}

impl Event {
    /// What an administrator did, at `at`.
    pub fn by_administrator(at: Timestamp, act: Action, outcome: Outcome, subject: Option<Subject>) -> Self {
        Self { at, action: act, outcome, subject, entry_point: None, client: None }
    }
}

/// By which door a request came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryPoint {
    /// The dialect.
    pub dialect: DialectName,
    /// The app that called on the user's behalf; empty if none did.
    pub app: String,
    /// Whom the limits count it against, where the act has limits.
    pub origin: Option<Origin>,
}

/// Who asked, as the chassis knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestSource {
    /// The whole address.
    pub address: IpAddr,
    /// What logs call the request.
    pub request_id: RequestId,
}

/// What a request is called in logs, traces and the trail, by the gateway and by every service: 1 to 64 letters, digits,
/// `.`, `_` and `-`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// Reads an id; `None` if it cannot be one.
    pub fn parse(text: impl Into<Arc<str>>) -> Option<Self> {
        let text = text.into();
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        ((1..=64).contains(&text.len()) && text.bytes().all(plain)).then_some(Self(text))
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whom or what an event concerns.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A user.
    User(UserId),
    /// A registered app.
    App(RecordName),
    /// A client token.
    ClientToken(RecordName),
    /// A sealing or signing key.
    Key(RecordName),
}

/// The name of a record: never what a client typed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RecordName(String);

impl RecordName {
    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn into_text(self) -> String {
        self.0
    }
}

impl From<UserId> for Subject {
    fn from(user: UserId) -> Self {
        Self::User(user)
    }
}

impl From<&App> for Subject {
    fn from(app: &App) -> Self {
        Self::App(RecordName(app.name.clone()))
    }
}

impl From<&ClientToken> for Subject {
    fn from(token: &ClientToken) -> Self {
        Self::ClientToken(RecordName(token.name.clone()))
    }
}

impl From<&KeyRecord> for Subject {
    fn from(key: &KeyRecord) -> Self {
        Self::Key(RecordName(key.name.clone()))
    }
}

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Action {
    /// Logging in, by this proof.
    Login(ProofKind),
    /// Changing a password by this proof of the old one.
    ChangePassword(ProofKind),
    /// Opening an account with a code.
    Register,
    /// Setting a password with a code.
    ResetPassword,
    /// Trading a code for a reset token.
    GrantReset,
    /// Setting a password with a reset token or a recent login.
    SetPassword,
    /// Sending a code.
    SendCode(CodePurpose),
    /// Checking a code without using it up.
    CheckCode,
    /// Issuing a captcha.
    IssueCaptcha,
    /// Handing a user over to another app.
    IssueTicket,
    /// Taking a user over from another app.
    RedeemTicket,
    /// Ending a session.
    Logout,
    /// Adding a user, as an administrator.
    AddUser,
    /// Setting a user's password, as an administrator.
    ProvisionPassword,
    /// Locking a user out.
    Disable,
    /// Letting a user in again.
    Enable,
    /// Registering an app.
    AddApp,
    /// Adding a client token.
    AddClientToken,
    /// Putting a key in service.
    AddKey,
    /// Sealing anew under the newest key.
    Reseal,
    /// Taking a key out of service.
    RetireKey,
    /// Ending salted logins.
    EndSalted,
    /// Allowing salted logins again.
    AllowSalted,
}

impl Action {
    /// Every kind of act, each once.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::iter()
    }

    /// A stable name, for metrics and the trail.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Which limit it meets when it is [`Outcome::RateLimited`].
    pub fn rate_limit_kind(self) -> RateLimitKind {
        match self {
            Self::SendCode(_) => RateLimitKind::Send,
            Self::IssueCaptcha => RateLimitKind::Captcha,
            Self::Register | Self::ResetPassword | Self::GrantReset | Self::CheckCode => RateLimitKind::Code,
            _ => RateLimitKind::Password,
        }
    }
}

/// The kinds of limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum RateLimitKind {
    /// On guessing passwords.
    Password,
    /// On guessing codes.
    Code,
    /// On sending codes.
    Send,
    /// On drawing captchas.
    Captcha,
}

impl RateLimitKind {
    /// Every kind.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::iter()
    }

    /// A stable name, for metrics and the trail.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// How it ended: done, or one word for each of the domain's errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
#[expect(missing_docs, reason = "the words are the domain's errors, which are explained there")]
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
    /// The client disconnected before the use case ended. What the stores recorded by then stays recorded.
    #[strum(serialize = "abandoned")]
    ClientDisconnected,
}

impl Outcome {
    /// Every one.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::iter()
    }

    /// How a use case ended.
    pub fn from_result<T>(result: &Result<T>) -> Self {
        let Err(error) = result else { return Self::Done };
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

    /// A stable name, for metrics and the trail.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_accept_only_letters_digits_and_punctuation() {
        assert_eq!(RequestId::parse("a.B-9_").unwrap().as_str(), "a.B-9_");
        let long = "x".repeat(65);
        for bad in ["", "a b", "a\"", "é", "a\n", long.as_str()] {
            assert!(RequestId::parse(bad).is_none(), "{bad:?}");
        }
    }
}
