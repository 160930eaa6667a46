//! A dialect's service: what it is made of, and how the chassis runs it.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::body::MessageBody;
use actix_web::dev::{Server, ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::Method;
use actix_web::http::header::{ALLOW, HeaderValue};
use actix_web::middleware::{Next, from_fn};
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{App, FromRequest, Handler, HttpResponse, Resource, Responder};
use futures_util::FutureExt as _;
use stele_core::proof::ProofKind;
use stele_core::{Error, UseCases};

use crate::config::{ConfigError, Setting, Settings};
use crate::dialect::{Dialect, Refusal, failed};
use crate::drain::{self, Drain};
use crate::extract::{BodyLimit, Refuse};
use crate::http::{self, Times};
use crate::keyring::KeyRing;
use crate::keys::Family;
use crate::log_text::clipped;
use crate::metrics::Metrics;
use crate::openapi::{self, OpenApi};
use crate::readiness::ReadinessCheck;
use crate::request::{Arrival, Route};
use crate::trace;
use crate::trail::Trail;
use crate::trust::Trust;

/// An idle connection is kept for longer than by the gateway, so that it never sends into one that is being closed.
const TIMES: Times = Times { head: Duration::from_secs(10), idle: Duration::from_secs(75) };

/// What a service is started with.
#[derive(Clone)]
pub struct Context {
    /// The domain.
    pub use_cases: UseCases,
    /// The settings.
    pub settings: Settings,
    /// Whose word about the client's address is taken.
    pub trust: Trust,
    /// The keys in service.
    pub keys: Arc<KeyRing>,
    /// The audit trail.
    pub trail: Arc<Trail>,
    /// Whether the program is going to stop.
    pub drain: Drain,
    /// What is counted.
    pub metrics: Metrics,
}

/// A dialect's routes, set up once and shared by all workers.
pub type Routes = Arc<dyn Fn(&mut ServiceConfig) + Send + Sync>;

/// A dialect's service. `main` hands it to [`crate::serve()`]; `stele up` runs all of them.
#[derive(Clone, Copy)]
pub struct Service {
    /// The dialect's name.
    pub name: &'static str,
    /// The port it listens on by default.
    pub port: u16,
    /// What it reads beside the settings that all share.
    pub settings: &'static [Setting],
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
    /// What it serves, for people and programs: at [`openapi::PATH`].
    pub document: fn() -> OpenApi,
    /// What its clients may prove a password by.
    pub proofs: &'static [ProofKind],
}

impl Service {
    /// A service of dialect `D` that needs no keys of its own.
    pub const fn new<D: Dialect>(
        port: u16,
        settings: &'static [Setting],
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
        let routes = (self.routes)(context)?;
        let refuse = self.refuse;
        let (use_cases, trust) = (Data::new(context.use_cases.clone()), context.trust.clone());
        let workers = workers(&context.settings)?;
        crate::net::lengthen(&listener)?;
        crate::net::raise_open_files();
        let (name, document) = (self.name, self.document);
        context.metrics.expect(name, self.proofs);
        let readiness = Data::new(ReadinessCheck::of(context));
        let Context { drain, metrics, trail, .. } = context.clone();
        let guard = Arc::new(Guard { service: name, refuse, fail: self.fail, drain, trust, metrics, trail });
        let limit = BodyLimit::from_settings(&context.settings)?;
        let app = move || {
            let guard = guard.clone();
            App::new()
                .app_data(use_cases.clone())
                .app_data(readiness.clone())
                .app_data(guard.trust.clone())
                .app_data(Refuse(refuse))
                .app_data(limit)
                .wrap(from_fn(move |request, next| guard.clone().around(request, next)))
                .configure(|config| health(config, refuse))
                .configure(|config| routes(config))
                .route(openapi::PATH, web::get().to(move || std::future::ready(web::Json(document()))))
                .default_service(web::to(move || std::future::ready(refuse(&Refusal::NotFound))))
        };
        let builder = Server::build().workers(workers).shutdown_timeout(10).disable_signals();
        Ok(http::listen(builder, name, listener, TIMES, app)?.run())
    }
}

/// The gateway asks at the service's own address, for that is what it passes requests on to.
fn health(config: &mut ServiceConfig, refuse: fn(&Refusal) -> HttpResponse) {
    let readiness = |readiness: Data<ReadinessCheck>| async move { drain::readiness(readiness.check().await) };
    let other = move || std::future::ready(refuse(&Refusal::Method));
    let healthz = web::resource("/healthz").route(web::get().to(|| async { drain::healthy() }));
    let readyz = web::resource("/readyz").route(web::get().to(readiness));
    config.service(healthz.default_service(web::to(other))).service(readyz.default_service(web::to(other)));
}

/// The most threads that actix-server runs; it panics beyond.
const MOST_WORKERS: usize = 512;

/// How many threads serve requests: `STELE_WORKERS`, by default one a core.
///
/// # Errors
/// If it is not a number from 1 to 512.
pub fn workers(settings: &Settings) -> Result<usize, ConfigError> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    settings.range("STELE_WORKERS", cores.min(MOST_WORKERS), 1..=MOST_WORKERS)
}

/// Serves `path` by `handler`, and answers other methods than `method` in the dialect, with the `Allow` that RFC 9110
/// (section 15.5.6) asks for.
pub(crate) fn endpoint<D: Dialect, F, Args>(method: Method, path: &str, handler: F) -> Resource
where
    F: Handler<Args>,
    F::Output: Responder + 'static,
    Args: FromRequest + 'static,
{
    let allow = HeaderValue::from_str(method.as_str()).ok();
    let refuse = move || {
        let mut response = D::refuse(&Refusal::Method);
        if let Some(allow) = &allow {
            response.headers_mut().insert(ALLOW, allow.clone());
        }
        std::future::ready(response)
    };
    let route = Route(Arc::new(label(path)));
    web::resource(path).app_data(route).route(web::method(method).to(handler)).default_service(web::to(refuse))
}

/// A path's pattern as metrics and traces name it: what matches in any letter case is told as it is written.
fn label(pattern: &str) -> String {
    let plain = |segment: &str| match segment.split_once(":(?i:") {
        Some((_, text)) => text.trim_end_matches(")}").to_owned(),
        None => segment.to_owned(),
    };
    pattern.split('/').map(plain).collect::<Vec<_>>().join("/")
}

/// What is around every request: its name and its spans, an answer in dialect if a handler panics, the end of the
/// connection if the program is going to stop, and what it is counted by.
struct Guard {
    service: &'static str,
    refuse: fn(&Refusal) -> HttpResponse,
    fail: fn(&Error) -> HttpResponse,
    drain: Drain,
    trust: Trust,
    metrics: Metrics,
    trail: Arc<Trail>,
}

impl Guard {
    /// What cannot be written into the audit trail is not done.
    fn unaudited(&self) -> actix_web::Error {
        let error = Error::unavailable("the audit trail has been waiting for its database too long");
        InternalError::from_response("the trail is full", failed(&error, (self.fail)(&error))).into()
    }

    async fn around<B: MessageBody + 'static>(
        self: Arc<Self>,
        request: ServiceRequest,
        next: Next<B>,
    ) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
        if drain::is_health(request.path()) {
            // Asked every second, by those who look after the program: nothing to see.
            let mut response = next.call(request).await?;
            if self.drain.is_draining() {
                drain::close(response.response_mut());
            }
            return Ok(response);
        }
        let begun = Instant::now();
        let arrival = Arrival::new(self.service, &request, &self.trust);
        // Not the request itself: the router takes it only while nobody else holds it.
        let (method, path) = (request.method().clone(), request.path().to_owned());
        let counted = self.drain.admit();
        let work = async {
            if self.trail.is_full() {
                return Err(self.unaudited());
            }
            next.call(request).await
        };
        let outcome = arrival.around(AssertUnwindSafe(work).catch_unwind()).await;
        // Asked anew: what began before the end was announced may be answered after it.
        let closing = counted || self.drain.is_draining();
        let (route, status) = match &outcome {
            Ok(Ok(response)) => (response.request().app_data::<Route>(), response.status().as_u16()),
            Ok(Err(error)) => (None, error.as_response_error().status_code().as_u16()),
            Err(_) => (None, 500),
        };
        tracing::debug!(parent: arrival.log(), path = &*clipped(&path), status, "answered");
        trace::answered(&arrival.trace, status);
        if let Some(Route(route)) = route {
            trace::routed(&arrival.trace, &method, route);
        }
        let route = route.map_or_else(|| Arc::new("none".to_owned()), |Route(route)| route.clone());
        self.metrics.answered(self.service, route, &method, status, begun.elapsed());
        match outcome {
            Ok(Ok(mut response)) => {
                if closing {
                    drain::close(response.response_mut());
                }
                Ok(response)
            }
            Ok(Err(error)) => Err(error),
            Err(_) => {
                tracing::error!(parent: arrival.log(), path = &*clipped(&path), "a handler panicked");
                let mut response = (self.refuse)(&Refusal::Internal);
                if closing {
                    drain::close(&mut response);
                }
                Err(InternalError::from_response("a handler panicked", response).into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_told_as_they_are_written() {
        assert_eq!(label("/i/login"), "/i/login");
        assert_eq!(label("/{api:(?i:api)}/{operation:(?i:Login)}/{id}"), "/api/Login/{id}");
    }
}
