//! A gateway as it runs: what it is told now, and what can be seen of it.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use actix_server::Server;
use arc_swap::ArcSwap;
use stele_service::Drain;
use stele_service::config::ConfigError;
use stele_service::drain::{DRAINING_REASON, Readiness};
use stele_service::log_sanitizer::ClientLogRateLimiter;
use stele_service::metrics::Metrics;
use tokio::sync::Notify;

use crate::config::Config;
use crate::connection_limit::ConnectionCounter;
use crate::metrics::{Counters, GatewayCollector};
use crate::server;
use crate::tls::TlsCertificate;
use crate::upstreams::CircuitState;

/// What all workers share.
pub(crate) struct SharedState {
    config: ArcSwap<Config>,
    pub(crate) drain: Drain,
    /// Calls the one who looks after the instances.
    pub(crate) health_check_trigger: Arc<Notify>,
    pub(crate) counters: Counters,
    pub(crate) connections: Arc<ConnectionCounter>,
    /// With a certificate, the public address speaks TLS alone.
    pub(crate) tls: Option<Arc<TlsCertificate>>,
    /// The access log's lines about refused requests.
    pub(crate) rejection_log_limit: ClientLogRateLimiter,
}

/// Lines a minute about refused requests: of one client, and of all.
const REJECTION_LOG_LINES_PER_MINUTE: (u32, u32) = (60, 3_000);

impl SharedState {
    /// What is in force now. A request keeps what was in force when it came.
    pub(crate) fn config(&self) -> Arc<Config> {
        self.config.load_full()
    }
}

/// A gateway, before and while it serves. Clones are the same gateway.
#[derive(Clone)]
pub struct Gateway(pub(crate) Arc<SharedState>);

/// One instance of a service, as it is at this moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceView {
    /// The service, as the routing table calls it.
    pub service: String,
    /// Where the instance is.
    pub address: SocketAddr,
    /// Whether it is given requests: it says that it can work, and they reach it.
    pub healthy: bool,
    /// Requests that it has not answered to the end.
    pub in_flight: usize,
    /// What is let through to it.
    pub circuit: CircuitState,
    /// How often it could not be connected to, broke off or did not answer in time, since it is known.
    pub failures: u64,
}

impl Gateway {
    /// A gateway that does not serve yet, and counts for nobody.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self::with_metrics(config, &Metrics::default())
    }

    /// A gateway that does not serve yet, and counts in `metrics`.
    #[must_use]
    pub fn with_metrics(config: Config, metrics: &Metrics) -> Self {
        let count = Counters::register(metrics);
        config.services().for_each(|service| count.preregister(service));
        let tls = config.tls.clone();
        let (config, drain, alarm) = (ArcSwap::from_pointee(config), Drain::default(), Arc::default());
        let refused_lines =
            ClientLogRateLimiter::new(REJECTION_LOG_LINES_PER_MINUTE.0, REJECTION_LOG_LINES_PER_MINUTE.1);
        let live = Arc::new(SharedState {
            config,
            drain,
            health_check_trigger: alarm,
            counters: count,
            connections: Arc::default(),
            tls,
            rejection_log_limit: refused_lines,
        });
        metrics.register_collector(Box::new(GatewayCollector(Arc::downgrade(&live))));
        Self(live)
    }

    /// Serves on `listener`. The server stops when its handle says so; it does not listen to signals.
    ///
    /// # Errors
    /// If the hop secret is not fit for a header, or the listener cannot be used.
    pub fn start(&self, listener: TcpListener) -> Result<Server, ConfigError> {
        server::start(&self.0, listener)
    }

    /// Puts `config` in force for requests that come from now on; what is known of instances that stay is kept.
    /// Threads, listeners and the limits of connections stay as they are.
    pub fn reload(&self, config: Config) {
        config.table.inherit_state(&self.0.config().table);
        if let (Some(tls), Some(new)) = (&self.0.tls, &config.tls) {
            tls.replace(new);
        }
        self.0.config.store(Arc::new(config));
        self.0.health_check_trigger.notify_one();
    }

    /// How the gateway is told that it is going to stop: it turns not ready, and closes connections with each answer.
    #[must_use]
    pub fn drain(&self) -> Drain {
        self.0.drain.clone()
    }

    /// Whether it is not going to stop, and every route leads to an instance that can work.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.0.drain.is_draining() && self.unavailable_services().is_empty()
    }

    /// Whether [it is ready](Self::is_ready), and if not, why.
    pub fn readiness(&self) -> Readiness {
        let missing = self.unavailable_services();
        if self.0.drain.is_draining() {
            Err(DRAINING_REASON.to_owned())
        } else if missing.is_empty() {
            Ok(())
        } else {
            Err(format!("no instance can work of {}", missing.join(", ")))
        }
    }

    /// The services without an instance that can work, in the table's order.
    #[must_use]
    pub fn unavailable_services(&self) -> Vec<String> {
        let config = self.0.config();
        let away = config.table.routes().iter().filter(|route| !route.upstreams.has_healthy_instance());
        away.map(|route| route.service.clone()).collect()
    }

    /// How many connections clients hold now.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.0.connections.count()
    }

    /// Every instance of every service.
    #[must_use]
    pub fn instances(&self) -> Vec<InstanceView> {
        let config = self.0.config();
        let mut views = Vec::new();
        for route in config.table.routes() {
            views.extend(route.upstreams.instances().iter().map(|one| InstanceView {
                service: route.service.clone(),
                address: one.address(),
                healthy: one.is_healthy(),
                in_flight: one.in_flight(),
                circuit: one.circuit_state(),
                failures: one.failures(),
            }));
        }
        views
    }
}
