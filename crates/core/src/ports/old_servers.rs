//! The clients of the old servers, which are asked about users whose passwords could not be imported.

use async_trait::async_trait;

use crate::old_server::{OldApi, OldProfile, OldQuestion, OldServer};

/// The answer of an old server.
#[derive(Clone, Debug)]
pub enum OldAnswer {
    /// The proof is right.
    Yes(Box<OldProfile>),
    /// The proof is wrong, or the server does not know the user.
    No,
    /// The question could not be answered: the server is unreachable, slow or overloaded, demands a captcha, or answers
    /// what its document does not have. The text is for the log, without secrets and identifiers.
    Unavailable(String),
}

/// What a yes of an old server led to, for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OldLoginResult {
    /// The user who had no password here has one now.
    Migrated,
    /// The password here was replaced, because the old server leads.
    Replaced,
    /// The user was logged in by a relayed salted digest, and is asked about again.
    NotMigrated,
    /// The answer is about another user, so there was no login.
    WrongUser,
}

/// The turn of an account, until it is dropped.
pub type AccountTurn = Box<dyn Send + Sync>;

/// The old servers. An implementation bounds the time, the number and the size of what it sends and receives, and logs
/// out the session that a yes has opened.
#[async_trait]
pub trait OldServers: Send + Sync {
    /// The servers that can be asked, in the order in which they are tried; empty if none is configured.
    fn list(&self) -> &[OldServer];

    /// Waits until no other login of the account asks in this process, so that the rate limits, which count a login once it
    /// is answered, bound how many questions an attacker can send at once. `None` if that takes too long.
    async fn take_turn(&self, account: &str) -> Option<AccountTurn>;

    /// Asks the server of `api`, once.
    async fn ask(&self, api: OldApi, question: OldQuestion) -> OldAnswer;

    /// Counts what a yes led to.
    fn record_login(&self, _api: OldApi, _result: OldLoginResult) {}
}

/// No old server.
#[async_trait]
impl OldServers for () {
    fn list(&self) -> &[OldServer] {
        &[]
    }

    async fn take_turn(&self, _: &str) -> Option<AccountTurn> {
        None
    }

    async fn ask(&self, _: OldApi, _: OldQuestion) -> OldAnswer {
        OldAnswer::Unavailable("no old server is configured".to_owned())
    }
}
