//! Ports: the traits that stores, the key ring, the delivery of codes and the sink of audit events implement for the
//! domain.
//!
//! Every store method is one atomic step for all instances of all services. A missing record is a value (`None`,
//! `false`), never an error. [`Error::Unavailable`] means that a store could not be reached or did not answer in time,
//! [`Error::Internal`] that a stored value cannot be read or a store rejected a statement.
//!
//! [`Error::Unavailable`]: crate::Error::Unavailable
//! [`Error::Internal`]: crate::Error::Internal

mod audit_log;
mod closures;
mod codes;
mod delivery;
mod dialect_use;
mod import_store;
mod keys;
mod legacy_users;
mod login_attempt;
mod oauth_registry;
mod old_servers;
mod password_list;
mod server_clock;
mod state_store;
mod user_store;
mod verifiers;

pub use audit_log::{AuditLogStore, EventSink};
pub use closures::ClosureStore;
pub use codes::{CodeVerification, CodeVerificationResult, NewCode, OnCodeMatch, QuotaExceeded, QuotaUse};
pub use delivery::{CodeMessage, Delivery};
pub use dialect_use::DialectUseStore;
pub use import_store::{
    AddedRow, CommitOutcome, ImportBatch, ImportQuery, ImportRun, ImportStore, LegacyLookup, MergedRow, PendingUser,
    RecordedRow, SourceLock, SourceUser, UndoneRows,
};
pub use keys::{
    KeyRecord, KeyRefresher, KeyRetirement, KeyStore, KeyUsage, ResealedUser, SaltedLoginUsage, SealedUser,
    parse_key_number,
};
pub use legacy_users::LegacyUserStore;
pub use login_attempt::{
    AttemptOutcome, LoginAttempt, OriginTrustChange, ProofResult, RateLimitDecision, RepeatPermit, SuccessEffects,
    UsedProof,
};
pub use oauth_registry::{ClientAddition, OAuthRegistry, ResourceAddition, ResourceRemoval};
pub use old_servers::{AccountTurn, OldAnswer, OldLoginResult, OldServers};
pub use password_list::PasswordListStore;
pub use server_clock::ServerClock;
pub use state_store::StateStore;
pub use user_store::UserStore;
pub use verifiers::{UnwrappedHash, VerifierStore};
