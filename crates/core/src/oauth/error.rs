//! The error type of the OAuth use cases, apart from [`Error`] so that dialects do not see errors that they cannot get.

use crate::Error;
use crate::event::Outcome;

/// Why a request to an OAuth endpoint fails (RFC 6749 §5.2).
#[derive(Debug)]
pub enum OAuthError {
    /// The client or resource is unknown, or its secret is wrong or has expired: `invalid_client`.
    InvalidClient,
    /// The client is not registered for this grant: `unauthorized_client`.
    UnauthorizedClient,
    /// The subject token is not valid as a token of the named type, or the client may not exchange this type:
    /// `invalid_request` (RFC 8693 §2.2.2). One error for all reasons, so that an exchange is no oracle.
    BadSubjectToken,
    /// The target is not one resource of the client: `invalid_target` (RFC 8707 §2, RFC 8693 §2.2.2).
    InvalidTarget,
    /// The scope exceeds what the client is registered for, or the scope of the subject token: `invalid_scope`.
    InvalidScope,
    /// The token to revoke was issued to another client: `invalid_request` (RFC 7009 §2.1).
    OtherClientsToken,
    /// Any other error: `RateLimited`, `Unavailable` or `Internal`.
    Domain(Error),
}

/// The result of an OAuth use case.
pub type OAuthResult<T> = Result<T, OAuthError>;

impl OAuthError {
    /// The outcome that the audit log records for this error.
    pub(crate) fn outcome(&self) -> Outcome {
        match self {
            Self::InvalidClient => Outcome::InvalidClient,
            Self::UnauthorizedClient | Self::OtherClientsToken => Outcome::NotAllowed,
            Self::BadSubjectToken => Outcome::NotAuthenticated,
            Self::InvalidTarget => Outcome::InvalidTarget,
            Self::InvalidScope => Outcome::InvalidScope,
            Self::Domain(error) => Outcome::from_error(error),
        }
    }
}

impl From<Error> for OAuthError {
    fn from(error: Error) -> Self {
        Self::Domain(error)
    }
}

impl std::fmt::Display for OAuthError {
    /// One line for a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::InvalidClient => "client authentication failed",
            Self::UnauthorizedClient => "the client is not registered for this grant",
            Self::BadSubjectToken => "the subject token is not valid",
            Self::InvalidTarget => "the target is not one resource of the client",
            Self::InvalidScope => "the scope is wider than permitted",
            Self::OtherClientsToken => "the token was issued to another client",
            Self::Domain(error) => return error.fmt(f),
        })
    }
}

impl std::error::Error for OAuthError {}
