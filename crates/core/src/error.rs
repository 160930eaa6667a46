//! The one domain error, which each dialect renders by an exhaustive match.

use std::fmt;
use std::time::Duration;

/// A result of the domain.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a use case did not do what it was asked.
#[derive(Debug)]
pub enum Error {
    /// A value breaks a rule; the text names the domain's field: `password`, `username`, `phone`, `email`.
    Invalid(&'static str),
    /// No user has this identifier or id. Dialects that must not tell render it as [`Error::WrongPassword`].
    UnknownUser,
    /// The proof is not of this user's password (or the user may not use this door).
    WrongPassword,
    /// A salted proof's timestamp is too far from now, or from before the replay memory was born.
    Stale,
    /// This very proof was accepted before.
    Replayed,
    /// The password is right, but an administrator has locked the user out.
    Disabled,
    /// The account asks for a challenge (a code or a captcha) first, and none was given.
    ChallengeRequired,
    /// A challenge was given and is wrong.
    ChallengeFailed,
    /// The verification code is wrong, expired, burnt, or was never sent.
    WrongCode,
    /// A user with this identifier exists.
    IdentifierTaken,
    /// The token is missing, unknown, expired or revoked.
    NotAuthenticated,
    /// The token is live, but not for this.
    NotAllowed,
    /// A one-time token cannot be issued or redeemed.
    TicketRefused,
    /// Too many failures or sends: wait.
    RateLimited {
        /// How long.
        retry_after: Duration,
    },
    /// All hashing slots are taken and the queue is full.
    Busy {
        /// When to try again.
        retry_after: Duration,
    },
    /// A store or a delivery channel cannot be reached.
    Unavailable(ErrorSource),
    /// A fault of ours.
    Internal(ErrorSource),
}

/// What lies behind a fault of ours: for the log, never for a client.
pub struct ErrorSource(Box<dyn std::error::Error + Send + Sync>);

impl Error {
    /// A fault of ours with its cause.
    pub fn internal(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Internal(ErrorSource(cause.into()))
    }

    /// Something unreachable, with its cause.
    pub fn unavailable(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Unavailable(ErrorSource(cause.into()))
    }

    /// How long to wait before trying again, where that is known, in whole seconds and at least one: what a
    /// `Retry-After` header says.
    pub fn retry_after(&self) -> Option<u64> {
        match self {
            Self::RateLimited { retry_after } | Self::Busy { retry_after } => {
                Some(retry_after.as_millis().div_ceil(1_000).max(1).try_into().unwrap_or(u64::MAX))
            }
            _ => None,
        }
    }
}

impl fmt::Debug for ErrorSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for ErrorSource {
    /// The cause and what caused it, outermost first.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut next = self.0.source();
        while let Some(cause) = next {
            write!(f, ": {cause}")?;
            next = cause.source();
        }
        Ok(())
    }
}

impl fmt::Display for Error {
    /// One line for an administrator or a log. Dialects have texts of their own.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(field) => write!(f, "{field} is not acceptable"),
            Self::UnknownUser => f.write_str("no such user"),
            Self::WrongPassword => f.write_str("wrong password"),
            Self::Stale => f.write_str("the proof is stale"),
            Self::Replayed => f.write_str("the proof was used before"),
            Self::Disabled => f.write_str("the user is disabled"),
            Self::ChallengeRequired => f.write_str("a challenge is required"),
            Self::ChallengeFailed => f.write_str("the challenge was not met"),
            Self::WrongCode => f.write_str("wrong verification code"),
            Self::IdentifierTaken => f.write_str("this name, phone or e-mail address is taken"),
            Self::NotAuthenticated => f.write_str("the token is missing or dead"),
            Self::NotAllowed => f.write_str("the token is not for this"),
            Self::TicketRefused => f.write_str("the one-time token is refused"),
            Self::RateLimited { retry_after } => write!(f, "too many: wait {} s", retry_after.as_secs()),
            Self::Busy { .. } => f.write_str("busy"),
            Self::Unavailable(cause) => write!(f, "unavailable: {cause}"),
            Self::Internal(cause) => write!(f, "internal: {cause}"),
        }
    }
}

impl std::error::Error for Error {}
