//! Key management: key files ([`files`]), key bootstrap, and the registered keys of a running process with key rotation
//! ([`keyring`]).

pub mod files;
pub mod keyring;

pub use files::{KeyFingerprint, KeyKind, MAC_KEY_NAME, SEALING_KEYS};
pub use keyring::{KeyConsumer, KeyRing, RegisteredKey};
