//! The domain's error type. Each dialect renders it by an exhaustive match.

use std::fmt;
use std::time::Duration;

/// The result of a use case or a port.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a use case failed.
#[derive(Debug)]
pub enum Error {
    /// A value is not acceptable. The text is the domain's name of the field: `password`, `username`, `phone`, `email`.
    Invalid(&'static str),
    /// No user has this identifier or id. Dialects that must prevent user enumeration render it as
    /// [`Error::WrongPassword`].
    UnknownUser,
    /// The proof is not of this user's password, or the user may not log in here.
    WrongPassword,
    /// A salted proof's timestamp is too far from now, or is not after the creation of the state store.
    Stale,
    /// The proof was accepted before (replay protection).
    Replayed,
    /// The password is correct, but an administrator has disabled the user.
    Disabled,
    /// The login needs a challenge (a code or a captcha) after too many failures, and the request has none.
    ChallengeRequired,
    /// The challenge was answered wrongly.
    ChallengeFailed,
    /// The verification code is wrong, expired, invalidated by wrong guesses, or was never sent.
    WrongCode,
    /// A user with this identifier exists.
    IdentifierTaken,
    /// The token is missing, unknown, expired or revoked.
    NotAuthenticated,
    /// The token is valid, but does not permit this.
    NotAllowed,
    /// A one-time token cannot be issued or redeemed.
    TicketRefused,
    /// A rate limit or quota is exceeded.
    RateLimited {
        /// How long to wait.
        retry_after: Duration,
    },
    /// Load shedding: all hashing slots are taken and the queue is full.
    Busy {
        /// How long to wait.
        retry_after: Duration,
    },
    /// A store or the delivery cannot be reached.
    Unavailable(ErrorSource),
    /// An internal error: a bug, damaged data, or a missing key.
    Internal(ErrorSource),
}

/// The source of an error: for logs, never for clients.
pub struct ErrorSource(Box<dyn std::error::Error + Send + Sync>);

impl Error {
    /// An internal error with its source.
    pub fn internal(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Internal(ErrorSource(source.into()))
    }

    /// An unreachable store or delivery, with the source.
    pub fn unavailable(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Unavailable(ErrorSource(source.into()))
    }

    /// How long to wait before retrying, where that is known, for a `Retry-After` header: whole seconds, at least one.
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
    /// The source and its own sources, outermost first.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut next = self.0.source();
        while let Some(source) = next {
            write!(f, ": {source}")?;
            next = source.source();
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
            Self::ChallengeFailed => f.write_str("the challenge was answered wrongly"),
            Self::WrongCode => f.write_str("wrong verification code"),
            Self::IdentifierTaken => f.write_str("this name, phone or e-mail address is taken"),
            Self::NotAuthenticated => f.write_str("the token is missing, expired or revoked"),
            Self::NotAllowed => f.write_str("the token does not permit this"),
            Self::TicketRefused => f.write_str("the one-time token cannot be issued or redeemed"),
            Self::RateLimited { retry_after } => write!(f, "rate limit exceeded: retry in {} s", retry_after.as_secs()),
            Self::Busy { .. } => f.write_str("busy: too many password hashes at once; retry later"),
            Self::Unavailable(source) => write!(f, "unavailable: {source}"),
            Self::Internal(source) => write!(f, "internal: {source}"),
        }
    }
}

impl std::error::Error for Error {}
