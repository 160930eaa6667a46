//! Access tokens (RFC 9068) as values: what the service `oauth` signs, verifies and answers about. This crate does not
//! know their form as JWTs.

use std::time::Duration;

use super::{Acr, Audience, ClientId, LegacyTokenType, OAuthClient, Scope, SigningAlgorithm};
use crate::hex;
use crate::mac::sha256;
use crate::random::Random;
use crate::session::{Session, TokenKey};
use crate::time::Timestamp;
use crate::user::UserId;

/// How long an access token is valid. A resource that verifies tokens offline learns of the end of a session within
/// this time.
pub const ACCESS_TOKEN_LIFETIME: Duration = Duration::from_secs(300);

/// The claims of an access token. Times are whole seconds, as in the JWT, so that a token that is read equals the one
/// that was issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessToken {
    /// `jti`: 32 hex digits, see `AccessToken::generate_id`.
    pub id: String,
    /// `sub`, and for a user `sid`, `acr`, `amr` and `auth_time`.
    pub subject: TokenSubject,
    /// `aud`: of one registered resource server.
    pub audience: Audience,
    /// `client_id`: the client to which the token is issued.
    pub client: ClientId,
    /// `scope`.
    pub scope: Scope,
    /// `iat`.
    pub issued_at: Timestamp,
    /// `exp`.
    pub expires: Timestamp,
}

impl AccessToken {
    /// The key under which the token is revoked.
    pub fn key(&self) -> TokenKey {
        TokenKey::access_token(&self.id)
    }

    /// The `jti` of a new token of `client`: 96 random bits, and 32 bits that say which registration of the client's id
    /// it is. The time of issue does not say it: a service that still knows a removed client grants tokens to its old
    /// secret after a client of the same id has been added.
    pub(crate) fn generate_id(client: &OAuthClient, random: &dyn Random) -> String {
        let mut id = random.hex128();
        let tag = registration_tag(client);
        id.replace_range(id.len() - tag.len().., &tag);
        id
    }

    /// Whether the token was issued to `client`, and not to an earlier or later client with the same id.
    pub(crate) fn is_issued_to(&self, client: &OAuthClient) -> bool {
        self.client == client.id && self.id.ends_with(&registration_tag(client))
    }

    /// The user in a session; `None` for a token of a client for itself.
    pub fn user_subject(&self) -> Option<UserSubject> {
        match self.subject {
            TokenSubject::Client => None,
            TokenSubject::User(subject) => Some(subject),
        }
    }

    /// How long the token is valid from its issue on, in seconds: `expires_in`.
    pub fn lifetime_secs(&self) -> i64 {
        self.expires.as_secs() - self.issued_at.as_secs()
    }
}

/// 8 hex digits, which differ between clients that are registered under one id at different times.
fn registration_tag(client: &OAuthClient) -> String {
    hex::encode(&sha256(&client.created_at.as_micros().to_be_bytes())[..4])
}

/// The subject of an access token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenSubject {
    /// The client itself (`client_credentials`). Its id cannot be read as a user's (RFC 9068 §5).
    Client,
    /// A user in a session.
    User(UserSubject),
}

/// A user in a session, as an access token names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserSubject {
    /// `sub`.
    pub user: UserId,
    /// `sid`: the key of the session. It identifies the session, and cannot be presented as its token.
    pub session: TokenKey,
    /// `acr`: how the user proved the password when the session was opened.
    pub acr: Acr,
    /// `auth_time`: when the session was opened.
    pub authenticated_at: Timestamp,
}

impl UserSubject {
    /// The user of the session `session` with the key `key`.
    pub(crate) fn new(key: TokenKey, session: &Session, acr: Acr) -> Self {
        Self { user: session.user, session: key, acr, authenticated_at: whole_seconds(session.created) }
    }

    /// Whether `session`, found under the key of this subject, is still the one in which the token was issued. An
    /// app-bound session is replaced under the same key by the next login.
    pub(crate) fn is_in(&self, session: &Session) -> bool {
        session.user == self.user && whole_seconds(session.created) == self.authenticated_at
    }
}

/// `at` without its fraction of a second.
pub(crate) fn whole_seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_secs(at.as_secs())
}

/// An access token to be signed and issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenGrant {
    /// The token's claims.
    pub token: AccessToken,
    /// The algorithm for which the client is registered.
    pub algorithm: SigningAlgorithm,
}

/// What introspection answers about a valid token (RFC 7662 §2.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenInfo {
    /// An access token of the caller's audience.
    Access(AccessToken),
    /// A token of a dialect's session.
    Legacy(LegacyTokenInfo),
}

/// What introspection answers about a token of a dialect's session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegacyTokenInfo {
    /// `token_type`.
    pub token_type: LegacyTokenType,
    /// `sub`, `sid`, `acr`, `amr`, `auth_time`; also `iat`.
    pub subject: UserSubject,
    /// `username`: see [`User::display_name`](crate::user::User::display_name).
    pub username: String,
    /// `exp`: when the session ends unless it is used before, or the token, which use does not extend.
    pub expires: Timestamp,
    /// `aud`: the caller's audience.
    pub audience: Audience,
}
