//! Apps that call on their users' behalf (MeFP), and client tokens (TMS).

use crate::seal::SealedSecret;
use crate::time::Timestamp;

/// A registered app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct App {
    /// The name that the app sends in `app_from`.
    pub name: String,
    /// The app's 16-byte secret, sealed with the app's name as context.
    pub secret: SealedSecret,
    /// The names of the apps to which this app may hand its users over.
    pub may_token: Vec<String>,
    /// When the app was added.
    pub created_at: Timestamp,
}

impl App {
    /// The context for which the secret of the app `name` is sealed (additional data).
    pub fn seal_context(name: &str) -> Vec<u8> {
        [b"app\0", name.as_bytes()].concat()
    }

    /// Whether `name` is a valid app name: 1 to 64 letters, digits, `.`, `-` and `_`.
    pub fn is_valid_name(name: &str) -> bool {
        (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b))
    }

    /// The name to look up: `name` if it is valid, else the empty name, which no app has. An invalid name never reaches
    /// the database, which may reject some text.
    pub(crate) fn lookup_name(name: &str) -> &str {
        if Self::is_valid_name(name) { name } else { "" }
    }
}

/// A token that identifies a client application, not a user (TMS).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientToken {
    /// The name of the client application.
    pub name: String,
    /// The SHA-256 hash of the token.
    pub hash: [u8; 32],
    /// When the client token was added.
    pub created_at: Timestamp,
}
