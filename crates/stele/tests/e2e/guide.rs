//! Guides in docs/ whose files and commands are run by tests.

pub(crate) mod document;
pub(crate) mod runner;
