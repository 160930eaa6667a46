//! Stand-ins of the five old login servers that organisations have: cloudbox, TMS, portal, MeFP and JWT, for tests of
//! the client that asks them and of migrations. They are written from the five API documents alone and share no code
//! with Stele, so that a misreading of a document is not on both sides of a test.
//!
//! Each runs on a port of loopback in a thread of its own, verifies passwords as old servers do (an unsalted md5, a
//! base64 text), keeps its users in a [`UserTable`], logs what it was asked, and misbehaves on demand ([`Fault`]).

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test's server may panic")]

mod call;
mod clock;
mod cloudbox;
mod envelope;
mod fault;
mod jwt;
mod login;
mod mariadb_table;
mod mefp;
mod memory_table;
mod password;
mod portal;
mod protocol;
mod request;
mod salted_proof;
mod schema;
mod server;
mod state;
mod tms;
mod token;
mod user;

pub use call::{Call, Outcome, ReceivedCall};
pub use cloudbox::OldCloudbox;
pub use envelope::Padding;
pub use fault::Fault;
pub use jwt::{OldJwt, TokenPlace, UserIdForm};
pub use mariadb_table::MariadbTable;
pub use mefp::{ErrorForm, OldMefp};
pub use memory_table::MemoryTable;
pub use password::{PasswordFormat, StoredPassword};
pub use portal::OldPortal;
pub use salted_proof::ProofRules;
pub use schema::TableSchema;
pub use server::OldServer;
pub use state::Session;
pub use tms::{OldTms, PasswordReading};
pub use token::TokenKey;
pub use user::{Lookup, OldUser, TableError, UserTable};
