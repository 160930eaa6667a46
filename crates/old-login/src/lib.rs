//! Clients of the five old login servers (lazy migration): a login that cannot be verified here is asked about there, in
//! the dialect of the server, as its API document describes it.
//!
//! - `config`: the settings, and the servers that they name
//! - `cloudbox`, `tms`, `portal`, `mefp`, `jwt`: one dialect each: the request of a login, the reading of its answer, and
//!   the logout of the session that the login opened
//! - `refusal`: whether a failure means a wrong password
//! - `client`: one server: time, number and size of calls are bounded, and a circuit breaker stops asking a server that
//!   fails
//! - `exchange`, `http`: requests and responses, and how they are sent; `metrics`: questions, logins, circuit breakers

mod circuit_breaker;
mod client;
mod cloudbox;
mod config;
mod exchange;
mod http;
mod jwt;
mod mefp;
mod metrics;
mod portal;
mod refusal;
mod tms;
mod turns;

use std::sync::Arc;

use async_trait::async_trait;
use stele_core::old_server::{OldApi, OldQuestion, OldServer};
use stele_core::ports::{AccountTurn, OldAnswer, OldLoginResult, OldServers};

use client::OldServerClient;
pub use config::{OldServersConfig, SETTINGS};
use metrics::OldServerMetrics;
use turns::AccountTurns;

/// The configured old servers.
pub struct OldServerClients {
    servers: Vec<OldServer>,
    clients: Vec<Arc<OldServerClient>>,
    turns: AccountTurns,
    metrics: OldServerMetrics,
}

#[async_trait]
impl OldServers for OldServerClients {
    fn list(&self) -> &[OldServer] {
        &self.servers
    }

    async fn take_turn(&self, account: &str) -> Option<AccountTurn> {
        self.turns.take(account).await
    }

    async fn ask(&self, api: OldApi, question: OldQuestion) -> OldAnswer {
        match self.clients.iter().find(|client| client.api() == api) {
            Some(client) => client.ask(question).await,
            None => OldAnswer::Unavailable("it is not configured".to_owned()),
        }
    }

    fn record_login(&self, api: OldApi, result: OldLoginResult) {
        self.metrics.record_login(api, result);
    }
}
