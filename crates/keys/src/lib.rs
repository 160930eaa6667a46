//! Sealing and signing keys: their files ([`files`]), and which are in service in a running process ([`keyring`]).

pub mod files;
pub mod keyring;

pub use files::{KeyFingerprint, KeyKind, MAC_KEY_NAME, SEALING_KEYS};
pub use keyring::{ActiveKey, KeyConsumer, KeyRing};
