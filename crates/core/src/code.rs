//! Verification codes: six digits, kept as keyed hashes, bound to dialect, purpose and subject.

use std::fmt;

use crate::mac::{MacKey, Tag};
use crate::random::Random;
use crate::session::Dialect;

/// What a code is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Opening an account (MeFP usage 1).
    Register,
    /// Setting a new password (MeFP usage 2, JWT).
    Reset,
    /// Anything in the dialect (the portal names no purpose).
    Any,
}

impl Purpose {
    /// A stable name, for stores and delivery.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::Reset => "reset",
            Self::Any => "any",
        }
    }
}

/// What a code is found by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CodeKey(String);

impl CodeKey {
    /// The key of the code that `dialect` sent for `purpose` to `subject`: a recipient's canonical key, or an
    /// account's key where the client does not repeat the recipient (JWT).
    pub fn new(dialect: Dialect, purpose: Purpose, subject: &str) -> Self {
        Self(format!("{dialect}:{}:{subject}", purpose.as_str()))
    }

    /// As stores key it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A code in the clear, on its way to its recipient. Never printed.
#[derive(Clone, zeroize::Zeroize, zeroize::ZeroizeOnDrop)]
pub struct Code(String);

impl Code {
    /// A new code: six digits, uniform.
    pub fn generate(random: &dyn Random) -> Self {
        Self(format!("{:06}", random.below(1_000_000)))
    }

    /// Takes what a client typed. Anything may be tried; only six digits can be right.
    pub fn typed(text: &str) -> Self {
        Self(text.trim().to_owned())
    }

    /// The code's text, for its recipient alone.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The keyed hash it is stored as. `app` is the app it was sent through (empty if none), which alone may use it.
    pub fn tag(&self, key: &MacKey, at: &CodeKey, app: &str) -> Tag {
        key.tag(&[b"code", at.as_str().as_bytes(), app.as_bytes(), self.0.as_bytes()])
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code(…)")
    }
}
