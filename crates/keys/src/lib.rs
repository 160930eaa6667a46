//! Keys: their files ([`files`]), and the keys in service of a running process with key rotation ([`keyring`]).

pub mod files;
pub mod keyring;

pub use files::{KeyFingerprint, KeyKind, MAC_KEY_NAME, SEALING_KEYS};
pub use keyring::{ActiveKey, KeyConsumer, KeyRing};
