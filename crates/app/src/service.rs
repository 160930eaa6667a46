//! A dialect's service: what it is made of, and how it is started.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::dev::Server;
use stele_core::Error;
use stele_core::proof::ProofKind;
use stele_dialect::openapi::OpenApi;
use stele_dialect::server::{self, DialectService, ServerContext};
use stele_dialect::{Dialect, RequestRejection, Routes};
use stele_keys::KeyKind;
use stele_service::setting::SettingList;
use stele_service::{ConfigError, Settings};

use crate::context::Context;
use crate::readiness::readiness_probe;

/// A dialect's service. `main` hands it to [`crate::serve()`]; `stele up` runs all of them.
#[derive(Clone, Copy)]
pub struct Service {
    /// The dialect's name.
    pub name: &'static str,
    /// The port it listens on by default.
    pub port: u16,
    /// What it reads beside the settings that all share.
    pub settings: SettingList,
    /// Reads its settings and sets its routes up.
    pub routes: fn(&Context) -> Result<Routes, ConfigError>,
    /// Makes what it needs in the key folder, if it is not there: only `stele up` and `stele migrate` do.
    pub provision: fn(&Path, &Settings) -> Result<(), ConfigError>,
    /// The keys it signs with, if it does.
    pub signing_key_kind: fn(&Settings) -> Result<Option<KeyKind>, ConfigError>,
    /// How its dialect renders refusals.
    pub render_refusal: fn(&RequestRejection) -> HttpResponse,
    /// How it renders domain errors.
    pub render_error: fn(&Error) -> HttpResponse,
    /// What it serves, for people and programs: at [`stele_service::OPENAPI_PATH`].
    pub openapi_document: fn() -> OpenApi,
    /// What its clients may prove a password by.
    pub supported_proofs: &'static [ProofKind],
}

impl Service {
    /// A service of dialect `D` that needs no keys of its own.
    pub const fn new<D: Dialect>(
        port: u16,
        settings: SettingList,
        routes: fn(&Context) -> Result<Routes, ConfigError>,
        document: fn() -> OpenApi,
    ) -> Self {
        Self {
            name: D::NAME,
            port,
            settings,
            routes,
            provision: |_, _| Ok(()),
            signing_key_kind: |_| Ok(None),
            render_refusal: D::render_rejection,
            render_error: D::render_error,
            openapi_document: document,
            supported_proofs: D::ACCEPTED_PROOFS,
        }
    }

    /// This service, with something to make in the key folder.
    #[must_use]
    pub const fn with_provisioning(mut self, provision: fn(&Path, &Settings) -> Result<(), ConfigError>) -> Self {
        self.provision = provision;
        self
    }

    /// This service, signing with keys of a family.
    #[must_use]
    pub const fn with_signing_keys(mut self, signing: fn(&Settings) -> Result<Option<KeyKind>, ConfigError>) -> Self {
        self.signing_key_kind = signing;
        self
    }

    /// The default of `STELE_LISTEN`.
    pub fn default_listen_address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Starts serving on `listener`. The server stops when its handle says so; it does not listen to signals.
    ///
    /// # Errors
    /// If a setting cannot be used.
    pub fn start(&self, context: &Context, listener: TcpListener) -> Result<Server, ConfigError> {
        let &Self { name, render_refusal: refuse, render_error: fail, openapi_document: document, .. } = self;
        let served = DialectService {
            name,
            routes: (self.routes)(context)?,
            render_rejection: refuse,
            render_error: fail,
            openapi_document: document,
        };
        context.domain_metrics.preregister(name, self.supported_proofs);
        let ready = readiness_probe(context);
        let Context { use_cases, settings, trusted_proxies: trust, audit_log: trail, drain, metrics, .. } =
            context.clone();
        let host = ServerContext {
            use_cases,
            trusted_proxies: trust,
            drain,
            metrics,
            readiness_check: ready,
            is_audit_log_full: Arc::new(move || trail.is_full()),
        };
        server::start(served, host, &settings, listener)
    }
}
