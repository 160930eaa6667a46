//! State that all workers share, and [`Gateway`], the handle to start, reload, drain and observe it.

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

/// The state of a gateway that all workers share.
pub(crate) struct SharedState {
    config: ArcSwap<Config>,
    pub(crate) drain: Drain,
    /// Wakes the health check task before its interval has passed.
    pub(crate) health_check_trigger: Arc<Notify>,
    pub(crate) counters: Counters,
    pub(crate) connections: Arc<ConnectionCounter>,
    /// The certificate of the public listener, which then serves TLS only; `None`: plain HTTP.
    pub(crate) tls: Option<Arc<TlsCertificate>>,
    /// Rate limit of access log lines for requests with status 400 or above.
    pub(crate) rejection_log_limit: ClientLogRateLimiter,
}

/// Access log lines per minute for requests with status 400 or above: per client and in total.
const REJECTION_LOG_LINES_PER_CLIENT: u32 = 60;
const REJECTION_LOG_LINES_TOTAL: u32 = 3_000;

impl SharedState {
    /// The current configuration. A request uses the one that was current when it was received.
    pub(crate) fn config(&self) -> Arc<Config> {
        self.config.load_full()
    }
}

/// Handle to a gateway. Clones are handles to the same gateway.
#[derive(Clone)]
pub struct Gateway(pub(crate) Arc<SharedState>);

/// A snapshot of one instance of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceView {
    /// The service's name in the routing table.
    pub service: String,
    /// The instance's address.
    pub address: SocketAddr,
    /// Whether the instance is ready by its last health check, no connect has failed since, and its circuit is closed.
    pub is_healthy: bool,
    /// Requests to the instance whose response is not complete.
    pub in_flight: usize,
    /// The state of the instance's circuit breaker.
    pub circuit: CircuitState,
    /// Failed connects (also of health checks), timeouts, broken connections and malformed responses since the instance
    /// was added.
    pub failures: u64,
}

impl Gateway {
    /// A gateway that is not started, without exposed metrics.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self::with_metrics(config, &Metrics::default())
    }

    /// A gateway that is not started, with its metrics registered in `metrics`.
    #[must_use]
    pub fn with_metrics(config: Config, metrics: &Metrics) -> Self {
        let counters = Counters::register(metrics);
        config.services().for_each(|service| counters.preregister(service));
        let shared = Arc::new(SharedState {
            tls: config.tls.clone(),
            config: ArcSwap::from_pointee(config),
            drain: Drain::default(),
            health_check_trigger: Arc::default(),
            counters,
            connections: Arc::default(),
            rejection_log_limit: ClientLogRateLimiter::new(REJECTION_LOG_LINES_PER_CLIENT, REJECTION_LOG_LINES_TOTAL),
        });
        metrics.register_collector(Box::new(GatewayCollector(Arc::downgrade(&shared))));
        Self(shared)
    }

    /// Starts the server on `listener`. The server ignores signals; stop it by [`Server::handle`].
    ///
    /// # Errors
    /// If the gateway secret is no valid header value, or the listener cannot be used.
    pub fn start(&self, listener: TcpListener) -> Result<Server, ConfigError> {
        server::start(&self.0, listener)
    }

    /// Uses `config` for new requests. Instances that both configurations have keep their state. Workers, listeners,
    /// the connection limit, the gateway secret, and the timeouts of request heads and of clients that do not read
    /// responses do not change.
    pub fn reload(&self, config: Config) {
        config.table.inherit_state(&self.0.config().table);
        if let (Some(tls), Some(new)) = (&self.0.tls, &config.tls) {
            tls.replace(new);
        }
        self.0.config.store(Arc::new(config));
        self.0.health_check_trigger.notify_one();
    }

    /// The drain switch of a graceful shutdown: once set, the gateway reports not ready and closes each connection with
    /// its next response.
    #[must_use]
    pub fn drain(&self) -> Drain {
        self.0.drain.clone()
    }

    /// Whether the gateway is not draining and every route has a healthy instance; if not, the reason.
    pub fn readiness(&self) -> Readiness {
        let unavailable = self.unavailable_services();
        if self.0.drain.is_draining() {
            Err(DRAINING_REASON.to_owned())
        } else if unavailable.is_empty() {
            Ok(())
        } else {
            Err(format!("no healthy instance of {}", unavailable.join(", ")))
        }
    }

    /// The services without a healthy instance, in the table's order.
    #[must_use]
    pub fn unavailable_services(&self) -> Vec<String> {
        let config = self.0.config();
        let unavailable = config.table.routes().iter().filter(|route| !route.upstreams.has_healthy_instance());
        unavailable.map(|route| route.service.clone()).collect()
    }

    /// The number of open client connections.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.0.connections.count()
    }

    /// All instances of all services.
    #[must_use]
    pub fn instances(&self) -> Vec<InstanceView> {
        let config = self.0.config();
        let mut views = Vec::new();
        for route in config.table.routes() {
            views.extend(route.upstreams.instances().iter().map(|instance| InstanceView {
                service: route.service.clone(),
                address: instance.address(),
                is_healthy: instance.is_healthy(),
                in_flight: instance.in_flight(),
                circuit: instance.circuit_state(),
                failures: instance.failures(),
            }));
        }
        views
    }
}
