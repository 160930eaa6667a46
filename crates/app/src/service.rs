//! Definition of a dialect's service: routes, settings, keys and error rendering; and its start.

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
use crate::readiness::build_readiness_check;

/// A dialect's service. Its `main` passes it to [`crate::serve()`]; `stele up` runs all services.
#[derive(Clone, Copy)]
pub struct Service {
    /// The dialect's name.
    pub name: &'static str,
    /// The default port.
    pub port: u16,
    /// The settings that only this service reads.
    pub settings: SettingList,
    /// Reads the service's settings and builds the service's routes.
    pub routes: fn(&Context) -> Result<Routes, ConfigError>,
    /// Checks what the service needs besides valid settings, such as an issuer.
    pub prerequisite: fn(&Context) -> Result<(), ConfigError>,
    /// Creates missing files in the key folder; called by `stele up` and `stele migrate`.
    pub provision: fn(&Path, &Settings) -> Result<(), ConfigError>,
    /// The kinds of the service's signing keys, for the configured algorithms; empty if it does not sign.
    pub signing_key_kinds: fn(&Settings) -> Result<Vec<KeyKind>, ConfigError>,
    /// Renders the rejection of a request in the service's dialect.
    pub render_rejection: fn(&RequestRejection) -> HttpResponse,
    /// Renders a domain error in the service's dialect.
    pub render_error: fn(&Error) -> HttpResponse,
    /// The service's OpenAPI document, served at [`stele_service::OPENAPI_PATH`].
    pub openapi_document: fn() -> OpenApi,
    /// Requests below this path reach the routes as they were sent ([`DialectService::verbatim_prefix`]).
    pub verbatim_prefix: Option<&'static str>,
    /// The kinds of proofs that clients of the dialect may send; empty for a service that is no login dialect.
    pub supported_proofs: &'static [ProofKind],
}

impl Service {
    /// A service of dialect `D` without its own keys.
    pub const fn new<D: Dialect>(
        port: u16,
        settings: SettingList,
        routes: fn(&Context) -> Result<Routes, ConfigError>,
        openapi_document: fn() -> OpenApi,
    ) -> Self {
        Self {
            name: D::NAME,
            port,
            settings,
            routes,
            prerequisite: |_| Ok(()),
            provision: |_, _| Ok(()),
            signing_key_kinds: |_| Ok(Vec::new()),
            render_rejection: D::render_rejection,
            render_error: D::render_error,
            openapi_document,
            verbatim_prefix: None,
            supported_proofs: D::ACCEPTED_PROOFS,
        }
    }

    /// Adds a function that creates files in the key folder.
    #[must_use]
    pub const fn with_provisioning(mut self, provision: fn(&Path, &Settings) -> Result<(), ConfigError>) -> Self {
        self.provision = provision;
        self
    }

    /// Adds signing keys of these kinds, whose first keys `stele up` and `stele migrate` create.
    #[must_use]
    pub const fn with_signing_keys(mut self, kinds: fn(&Settings) -> Result<Vec<KeyKind>, ConfigError>) -> Self {
        self.signing_key_kinds = kinds;
        self
    }

    /// Sets the path below which requests reach the routes as they were sent.
    #[must_use]
    pub const fn with_verbatim_prefix(mut self, prefix: &'static str) -> Self {
        self.verbatim_prefix = Some(prefix);
        self
    }

    /// Whether users log in through this service.
    pub fn is_login_dialect(&self) -> bool {
        !self.supported_proofs.is_empty()
    }

    /// Sets what the settings must provide. A program of its own refuses to start without it; `stele up` leaves the
    /// service out and logs the reason.
    #[must_use]
    pub const fn with_prerequisite(mut self, prerequisite: fn(&Context) -> Result<(), ConfigError>) -> Self {
        self.prerequisite = prerequisite;
        self
    }

    /// Whether the settings provide what the service needs. Logs the reason if they do not.
    pub fn has_prerequisite(&self, context: &Context) -> bool {
        let result = (self.prerequisite)(context);
        if let Err(reason) = &result {
            tracing::warn!(service = self.name, %reason, "the service is left out");
        }
        result.is_ok()
    }

    /// The default of `STELE_LISTEN`.
    pub fn default_listen_address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Starts serving on `listener`. The server ignores signals; stop it by its handle.
    ///
    /// # Errors
    /// If a setting is invalid.
    pub fn start(&self, context: &Context, listener: TcpListener) -> Result<Server, ConfigError> {
        let &Self { name, render_rejection, render_error, openapi_document, verbatim_prefix, .. } = self;
        (self.prerequisite)(context)?;
        let routes = (self.routes)(context)?;
        let service =
            DialectService { name, routes, render_rejection, render_error, openapi_document, verbatim_prefix };
        if self.is_login_dialect() {
            context.domain_metrics.preregister(name, self.supported_proofs);
            context.closures.preregister(name);
        }
        let readiness_check = build_readiness_check(context);
        let Context { use_cases, settings, trusted_proxies, audit_log, closures, drain, metrics, .. } = context.clone();
        let server_context = ServerContext {
            use_cases,
            trusted_proxies,
            drain,
            metrics,
            readiness_check,
            is_audit_log_full: Arc::new(move || audit_log.is_full()),
            closure_check: Arc::new(move |client| closures.check(name, client)),
        };
        server::start(service, server_context, &settings, listener)
    }
}
