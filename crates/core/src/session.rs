//! Sessions with their bearer tokens, and one-time tickets. Both are found by the hash of their token, never by the
//! token.

use std::fmt;
use std::time::Duration;

use strum::IntoStaticStr;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::hex;
use crate::mac::sha256;
use crate::random::Random;
use crate::time::Timestamp;
use crate::user::{Account, UserId};

/// The name of a dialect, to which sessions and codes are bound: `cloudbox`, `tms`, `portal`, `mefp` or `jwt`, or that
/// of a dialect added later.
pub type DialectName = &'static str;

/// A bearer token: 128 random bits as 32 lowercase hex digits. Never stored, never printed.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Token(String);

impl Token {
    /// Generates a token.
    pub fn generate(random: &dyn Random) -> Self {
        Self(random.hex128())
    }

    /// Parses a token that a client presents: 16 bytes in hex, as [`hex::decode`] reads them; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        hex::decode::<16>(text).map(|bytes| Self(hex::encode(&bytes)))
    }

    /// The token's text, for the client to which it is issued.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The key under which the token's session or ticket is stored.
    pub fn key(&self) -> TokenKey {
        TokenKey(sha256(self.0.as_bytes()))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// The key of a session, ticket or revoked access token: the SHA-256 hash of its token, or of the values that an
/// app-bound session or an access token has instead. As text, 64 lowercase hex digits: the id of a session for people
/// and in tokens (`sid`), which identifies the session and cannot be presented as its token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TokenKey(pub [u8; 32]);

impl TokenKey {
    /// Parses the text of a key: 64 lowercase hex digits; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        hex::decode(text).map(Self).filter(|key| key.to_string() == text)
    }

    /// The key of an access token, to revoke it (RFC 7009): of its `jti`, since the token itself is longer and has many
    /// encodings.
    pub fn access_token(jti: &str) -> Self {
        Self(sha256(&[b"access-token\0", jti.as_bytes()].concat()))
    }

    /// The key of a session without a token, which is bound to a dialect, an app and a user (MeFP).
    pub fn app_bound(dialect: DialectName, app: &str, user: UserId) -> Self {
        let parts = [dialect.as_bytes(), b"\0presence\0", app.as_bytes(), b"\0", user.as_bytes()];
        Self(sha256(&parts.concat()))
    }
}

impl fmt::Display for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

/// A session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The user.
    pub user: UserId,
    /// The dialect that opened the session, in which alone the session is valid.
    pub dialect: String,
    /// The app through which the session was opened; empty if none.
    pub app: String,
    /// When the session was opened.
    pub created: Timestamp,
    /// When the session expires, unless it is used before.
    pub expires: Timestamp,
    /// When the session was last used, to within [`touch_interval`].
    pub last_seen: Timestamp,
    /// The credential's epoch when the session was opened. The session is valid under that epoch only.
    pub epoch: i64,
}

impl Session {
    /// Whether the session is valid for `account`, the account of its user: the credential is the one under which the
    /// session was opened, and the user is not disabled.
    pub fn is_valid_for(&self, account: &Account) -> bool {
        account.epoch == self.epoch && !account.user.disabled
    }
}

/// A session to be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSession {
    /// The key under which the session is stored.
    pub key: TokenKey,
    /// The session.
    pub session: Session,
    /// The most sessions that the user may have, this one included; at least 1. The user's oldest sessions beyond it
    /// end.
    pub max_per_user: u32,
}

/// A session with the key under which it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyedSession {
    /// The key.
    pub key: TokenKey,
    /// The session.
    pub session: Session,
}

/// The most sessions in a [`SessionList`].
pub const MAX_LISTED_SESSIONS: usize = 1_000;

/// Sessions of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionList {
    /// The sessions, newest first by creation; at most [`MAX_LISTED_SESSIONS`].
    pub sessions: Vec<KeyedSession>,
    /// Whether the user has more sessions, which are older than these.
    pub has_more: bool,
}

/// A session, and whether an access token is revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionAndRevocation {
    /// The session, if one was asked for and has not expired.
    pub session: Option<Session>,
    /// Whether the access token is revoked.
    pub is_revoked: bool,
}

/// How old [`Session::last_seen`] may get before it is stored again: a minute, or a tenth of the session's lifetime
/// `ttl` if that is shorter. Not every use of a session is therefore a write.
pub fn touch_interval(ttl: Duration) -> Duration {
    (ttl / 10).min(Duration::from_secs(60))
}

/// The purpose of a one-time ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum TicketKind {
    /// Reset of a password (JWT document, 验证手机).
    Reset,
    /// Handover of a user to another app (MeFP document, 获取Token).
    Handover,
}

impl TicketKind {
    /// The name of the kind in stores.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// A one-time ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The purpose of the ticket.
    pub kind: TicketKind,
    /// The user.
    pub user: UserId,
    /// The credential's epoch when the ticket was issued. The ticket is valid under that epoch only.
    pub epoch: i64,
    /// The app that issued the ticket; empty for a reset.
    pub source: String,
    /// The name of the app that may redeem the ticket; for a reset, the id of the user whose password it sets.
    pub audience: String,
    /// When the ticket expires.
    pub expires: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::OsRandom;

    #[test]
    fn a_token_is_normalized_to_lowercase_and_looked_up_by_hash() {
        let token = Token::parse("8D7E1C5AB2F94036A1B2C3D4E5F60718").unwrap();
        assert_eq!(token.expose(), "8d7e1c5ab2f94036a1b2c3d4e5f60718");
        // Computed by Python's `hashlib`.
        assert_eq!(hex::encode(&token.key().0), "c3cb388c4d163d2b5876b1b54d000ebd88050d6f045d67beb5825151ad2efaa8");
        for text in ["", "8d7e1c5ab2f94036a1b2c3d4e5f6071", "8d7e1c5ab2f94036a1b2c3d4e5f607189", &"g".repeat(32)] {
            assert!(Token::parse(text).is_none(), "{text:?}");
        }
        let (first, second) = (Token::generate(&OsRandom), Token::generate(&OsRandom));
        assert_ne!(first.expose(), second.expose());
        assert_eq!(Token::parse(first.expose()).unwrap().key(), first.key());
    }

    #[test]
    fn an_app_bound_key_is_unique_per_dialect_app_and_user() {
        let (user, other_user) = (UserId::from_bytes([1; 16]), UserId::from_bytes([2; 16]));
        let key = TokenKey::app_bound("mefp", "melink", user);
        assert_eq!(hex::encode(&key.0), "e653193d3f5cf071d1f74e324322223204e957a2313666e0bf9bba6ba7eddc5b");
        for different in [
            TokenKey::app_bound("jwt", "melink", user),
            TokenKey::app_bound("mefp", "wlfz", user),
            TokenKey::app_bound("mefp", "melink", other_user),
        ] {
            assert_ne!(different, key);
        }
    }

    #[test]
    fn a_key_has_one_text() {
        let key = TokenKey::access_token("c8b0");
        // Computed by Python's `hashlib`.
        assert_eq!(key.to_string(), "762655c97788544acc1d8897baaf6d6d9ab4e7234762d2ddf16fb5bf4bc0e3d3");
        assert_eq!(TokenKey::parse(&key.to_string()), Some(key));
        let text = key.to_string();
        for other in [text.to_uppercase(), format!(" {text}"), text[..63].to_owned(), format!("{text}0"), String::new()]
        {
            assert_eq!(TokenKey::parse(&other), None, "{other:?}");
        }
        assert_ne!(TokenKey::access_token("c8b0"), TokenKey(sha256(b"c8b0")));
    }

    #[test]
    fn the_touch_interval_is_a_minute_or_a_tenth_of_the_ttl() {
        for (ttl, interval) in [(3_600, 60), (600, 60), (300, 30), (10, 1)] {
            assert_eq!(touch_interval(Duration::from_secs(ttl)), Duration::from_secs(interval));
        }
    }

    #[test]
    fn ticket_kinds_have_stable_names() {
        assert_eq!([TicketKind::Reset, TicketKind::Handover].map(TicketKind::as_str), ["reset", "handover"]);
    }
}
