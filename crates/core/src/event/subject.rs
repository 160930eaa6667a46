//! Subjects of audit events: the user or record that an event concerns.

use crate::app::{App, ClientToken};
use crate::dialect_closure::NewClosure;
use crate::import::SourceName;
use crate::oauth::{ClientId, ResourceName};
use crate::ports::{ImportRun, KeyRecord};
use crate::user::UserId;

/// The user or record that an event concerns.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A user.
    User(UserId),
    /// A registered app.
    App(RecordName),
    /// A client token.
    ClientToken(RecordName),
    /// A sealing or signing key.
    Key(RecordName),
    /// An OAuth client.
    OAuthClient(RecordName),
    /// A resource server.
    Resource(RecordName),
    /// A source of imported users, or one of its runs with the outcomes of its rows.
    Import(RecordName),
    /// A dialect, or one of its clients.
    Dialect(RecordName),
}

/// The name of an existing record, never text that a client typed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RecordName(String);

impl RecordName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn into_text(self) -> String {
        self.0
    }
}

impl From<UserId> for Subject {
    fn from(user: UserId) -> Self {
        Self::User(user)
    }
}

impl From<&App> for Subject {
    fn from(app: &App) -> Self {
        Self::App(RecordName(app.name.clone()))
    }
}

impl From<&ClientToken> for Subject {
    fn from(token: &ClientToken) -> Self {
        Self::ClientToken(RecordName(token.name.clone()))
    }
}

impl From<&SourceName> for Subject {
    fn from(source: &SourceName) -> Self {
        Self::Import(RecordName(source.to_string()))
    }
}

impl From<&ImportRun> for Subject {
    fn from(run: &ImportRun) -> Self {
        Self::Import(RecordName(format!("{} run {}: {}", run.source, run.id, run.counts)))
    }
}

impl From<&ClientId> for Subject {
    fn from(id: &ClientId) -> Self {
        Self::OAuthClient(RecordName(id.to_string()))
    }
}

impl From<&ResourceName> for Subject {
    fn from(name: &ResourceName) -> Self {
        Self::Resource(RecordName(name.to_string()))
    }
}

impl From<&NewClosure> for Subject {
    fn from(closure: &NewClosure) -> Self {
        let NewClosure { dialect, client, .. } = closure;
        Self::Dialect(RecordName(match client {
            Some(client) => format!("{dialect}/{client}"),
            None => dialect.clone(),
        }))
    }
}

impl From<&KeyRecord> for Subject {
    fn from(key: &KeyRecord) -> Self {
        Self::Key(RecordName(key.name.clone()))
    }
}
