//! Sealing and signing keys: their files ([`files`]), and which are in service in a running process ([`keyring`]).

pub mod files;
pub mod keyring;

pub use files::{Family, MAC, Probe, SEALING};
pub use keyring::{Holder, InService, KeyRing};
