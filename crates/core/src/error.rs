//! The domain's error type. Each dialect renders it by an exhaustive match.

use std::fmt;
use std::time::Duration;

/// The result of a use case or a port.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a use case failed.
#[derive(Debug)]
pub enum Error {
    /// A value is not acceptable. The text names the field, such as `phone`; for an administrator's command, the
    /// command-line option, such as `may-token`.
    Invalid(&'static str),
    /// No user has this identifier or id. Dialects that must prevent user enumeration render it as
    /// [`Error::WrongPassword`].
    UnknownUser,
    /// The proof does not match the user's password, the password was changed meanwhile, or this login does not accept
    /// the user ([`AllowedUsers`](crate::usecase::login::AllowedUsers)).
    WrongPassword,
    /// A salted proof's timestamp is too far from now, or is not after the creation of the state store.
    Stale,
    /// The salted proof was accepted before (replay protection).
    Replayed,
    /// The password is correct, but an administrator has disabled the user.
    Disabled,
    /// After too many failures the login requires a challenge (a code or a captcha), and the request has no answer to
    /// one.
    ChallengeRequired,
    /// The answer to the challenge is wrong, or another request consumed the code meanwhile.
    ChallengeFailed,
    /// The verification code is wrong, expired, invalidated by wrong guesses or by a change of password, or was never
    /// sent.
    WrongCode,
    /// The new password is on a list of common passwords, which the policy refuses.
    CommonPassword,
    /// A user with this identifier exists, or an app or client token with this name.
    IdentifierTaken,
    /// The session token, client token or reset token is missing, unknown, expired or revoked, or not valid for this
    /// request.
    NotAuthenticated,
    /// The session token is valid, but its user may not perform this operation.
    NotAllowed,
    /// A handover ticket between apps cannot be issued or redeemed.
    TicketRefused,
    /// A rate limit or quota is exceeded.
    RateLimited {
        /// How long until the rate limit or quota permits another attempt.
        retry_after: Duration,
    },
    /// Load shedding: all hashing slots are taken and the queue is full.
    Busy {
        /// How long the client should wait before it retries.
        retry_after: Duration,
    },
    /// A store or the delivery of codes cannot be reached or does not answer in time.
    Unavailable(ErrorSource),
    /// An internal error: a bug, damaged data, or a missing or wrong key.
    Internal(ErrorSource),
}

/// The source of an error: for logs, never for clients.
pub struct ErrorSource(Box<dyn std::error::Error + Send + Sync>);

impl Error {
    /// An internal error with its source.
    pub fn internal(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Internal(ErrorSource(source.into()))
    }

    /// The error of an unreachable store or delivery, with its source.
    pub fn unavailable(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Unavailable(ErrorSource(source.into()))
    }

    /// The value of a `Retry-After` header, in whole seconds, at least one; `None` unless the error is
    /// [`Error::RateLimited`] or [`Error::Busy`].
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
    /// The source, then the chain of its sources, outermost first.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut next_source = self.0.source();
        while let Some(source) = next_source {
            write!(f, ": {source}")?;
            next_source = source.source();
        }
        Ok(())
    }
}

impl fmt::Display for Error {
    /// One line for an administrator or a log. Dialects render errors to clients with their own texts.
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
            Self::CommonPassword => {
                f.write_str("this password is on a list of common passwords, which are guessed first; choose another")
            }
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
