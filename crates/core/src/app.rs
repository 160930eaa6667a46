//! Apps that call on their users' behalf (MeFP), and client tokens (TMS).

use crate::seal::SealedSecret;
use crate::time::Timestamp;

/// A registered app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct App {
    /// Its name, as it sends it in `app_from`.
    pub name: String,
    /// Its 16-byte secret, sealed with its name as context.
    pub secret: SealedSecret,
    /// The apps it may hand its users over to.
    pub may_token: Vec<String>,
    /// When it was added.
    pub created_at: Timestamp,
}

impl App {
    /// What an app's secret is bound to when sealed.
    pub fn seal_context(name: &str) -> Vec<u8> {
        [b"app\0", name.as_bytes()].concat()
    }

    /// Whether `name` can be an app's: 1 to 64 letters, digits, `.`, `-` and `_`.
    pub fn is_valid_name(name: &str) -> bool {
        (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b))
    }

    /// What to look an app up by: `name`, or the empty name, which no app has, for what cannot be one: a database may
    /// refuse that.
    pub(crate) fn lookup_name(name: &str) -> &str {
        if Self::is_valid_name(name) { name } else { "" }
    }
}

/// A token that a client application presents, rather than a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientToken {
    /// What it was given to.
    pub name: String,
    /// SHA-256 of the token.
    pub hash: [u8; 32],
    /// When it was added.
    pub created_at: Timestamp,
}
