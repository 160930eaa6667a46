//! A dialect's service: what it is made of, and how it is started.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::dev::Server;
use stele_core::Error;
use stele_core::proof::ProofKind;
use stele_dialect::openapi::OpenApi;
use stele_dialect::server::{self, Host, Served};
use stele_dialect::{Dialect, Refusal, Routes};
use stele_keys::Family;
use stele_service::setting::List;
use stele_service::{ConfigError, Settings};

use crate::context::Context;
use crate::readiness::readiness;

/// A dialect's service. `main` hands it to [`crate::serve()`]; `stele up` runs all of them.
#[derive(Clone, Copy)]
pub struct Service {
    /// The dialect's name.
    pub name: &'static str,
    /// The port it listens on by default.
    pub port: u16,
    /// What it reads beside the settings that all share.
    pub settings: List,
    /// Reads its settings and sets its routes up.
    pub routes: fn(&Context) -> Result<Routes, ConfigError>,
    /// Makes what it needs in the key folder, if it is not there: only `stele up` and `stele migrate` do.
    pub provision: fn(&Path, &Settings) -> Result<(), ConfigError>,
    /// The keys it signs with, if it does.
    pub signing: fn(&Settings) -> Result<Option<Family>, ConfigError>,
    /// How its dialect renders refusals.
    pub refuse: fn(&Refusal) -> HttpResponse,
    /// How it renders domain errors.
    pub fail: fn(&Error) -> HttpResponse,
    /// What it serves, for people and programs: at [`stele_service::OPENAPI_PATH`].
    pub document: fn() -> OpenApi,
    /// What its clients may prove a password by.
    pub proofs: &'static [ProofKind],
}

impl Service {
    /// A service of dialect `D` that needs no keys of its own.
    pub const fn new<D: Dialect>(
        port: u16,
        settings: List,
        routes: fn(&Context) -> Result<Routes, ConfigError>,
        document: fn() -> OpenApi,
    ) -> Self {
        Self {
            name: D::NAME,
            port,
            settings,
            routes,
            provision: |_, _| Ok(()),
            signing: |_| Ok(None),
            refuse: D::refuse,
            fail: D::fail,
            document,
            proofs: D::PROOFS,
        }
    }

    /// This service, with something to make in the key folder.
    #[must_use]
    pub const fn provisioned_by(mut self, provision: fn(&Path, &Settings) -> Result<(), ConfigError>) -> Self {
        self.provision = provision;
        self
    }

    /// This service, signing with keys of a family.
    #[must_use]
    pub const fn signing_by(mut self, signing: fn(&Settings) -> Result<Option<Family>, ConfigError>) -> Self {
        self.signing = signing;
        self
    }

    /// The default of `STELE_LISTEN`.
    pub fn default_listen(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Starts serving on `listener`. The server stops when its handle says so; it does not listen to signals.
    ///
    /// # Errors
    /// If a setting cannot be used.
    pub fn start(&self, context: &Context, listener: TcpListener) -> Result<Server, ConfigError> {
        let &Self { name, refuse, fail, document, .. } = self;
        let served = Served { name, routes: (self.routes)(context)?, refuse, fail, document };
        context.domain_metrics.expect(name, self.proofs);
        let ready = readiness(context);
        let Context { use_cases, settings, trust, trail, drain, metrics, .. } = context.clone();
        let host = Host { use_cases, trust, drain, metrics, ready, audit_is_full: Arc::new(move || trail.is_full()) };
        server::start(served, host, &settings, listener)
    }
}
