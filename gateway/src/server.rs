//! HTTP server: listeners, workers, admission of client connections, TLS handshake, graceful shutdown.

use std::net::{IpAddr, TcpListener};
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use actix_server::{GracefulShutdownSignal, Server};
use actix_service::fn_service;
use hyper::header::HeaderValue;
use stele_service::config::ConfigError;
use stele_service::listener;
use stele_service::trusted_proxies::client_network;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::client_connection::{ClientTimeouts, ConnectionState, ListenerRole, Protocol};
use crate::client_io::{ClientIo, ClientStream};
use crate::connection_limit::ConnectionGuard;
use crate::proxy::WorkerState;
use crate::shared_state::SharedState;
use crate::upstreams::pool::ConnectionPool;
use crate::{health_check, http1, http2, tls};

/// Graceful shutdown: how long requests in flight may take to complete.
const SHUTDOWN_TIMEOUT_SECONDS: u64 = 10;
/// How often expired idle connections to services are closed.
const IDLE_SWEEP_INTERVAL: Duration = Duration::from_secs(5);
/// Below this many connections per address, clients behind one NAT address may be rejected. A warning is logged at
/// start.
const MIN_PER_CLIENT_LIMIT: usize = 2_000;
/// Maximum of open files that are not client or upstream connections: listeners, health checks, services in the same
/// process.
const RESERVED_FILES: usize = 256;

/// Starts the server on `listener` and, if configured, on the redirect listener; and the health checks and the watch of
/// the certificate files.
pub(crate) fn start(shared: &Arc<SharedState>, listener: TcpListener) -> Result<Server, ConfigError> {
    let bind_error = |e: std::io::Error| ConfigError::new(format!("gateway: cannot listen: {e}"));
    listener::set_backlog(&listener)?;
    let config = shared.config();
    let gateway_secret = config.gateway_secret.as_ref().map(|secret| gateway_secret_header(secret)).transpose()?;
    let limit = effective_connection_limit(config.limits.max_connections);
    shared.connections.set_limit(limit);
    if shared.connections.per_client_limit() < MIN_PER_CLIENT_LIMIT {
        let share = shared.connections.per_client_limit();
        tracing::warn!(
            share,
            "low per-client limit of connections: half of STELE_MAX_CONNECTIONS; set STELE_MAX_CONNECTIONS to 4000 or more for 2000 per client"
        );
    }
    actix_rt::spawn(health_check::run(Arc::downgrade(shared)));
    // Backpressure: a worker at its limit accepts no connection. When all workers are at
    // their limits, clients wait in the listen backlog.
    let worker_limit = limit.div_ceil(config.workers);
    let builder = Server::build().workers(config.workers).max_concurrent_connections(worker_limit);
    let shutdown = builder.graceful_shutdown_signal();
    let timeouts = ClientTimeouts { head: config.limits.head_timeout, send: config.limits.body_timeout };
    let redirect = config.redirect.map(|redirect| redirect.bind(&listener)).transpose()?;
    if let Some(tls) = &shared.tls {
        actix_rt::spawn(tls::watch_files(Arc::downgrade(tls)));
    }
    let service_factory = |listener_role| {
        let (shared, gateway_secret, shutdown) = (Arc::clone(shared), gateway_secret.clone(), shutdown.clone());
        move || {
            let pool = ConnectionPool::new(worker_limit);
            let worker =
                Rc::new(WorkerState { shared: Arc::clone(&shared), gateway_secret: gateway_secret.clone(), pool });
            actix_rt::spawn(close_idle_connections(Rc::downgrade(&worker)));
            let shutdown = shutdown.clone();
            fn_service(move |socket: TcpStream| {
                let (worker, shutdown) = (Rc::clone(&worker), shutdown.clone());
                async move {
                    serve_connection(&worker, socket, listener_role, timeouts, shutdown).await;
                    Ok::<_, ()>(())
                }
            })
        }
    };
    let mut builder = builder.shutdown_timeout(SHUTDOWN_TIMEOUT_SECONDS).disable_signals();
    if let Some((port, listener)) = redirect {
        let factory = service_factory(ListenerRole::HttpsRedirect(port));
        builder = builder.listen("redirect", listener, factory).map_err(bind_error)?;
    }
    builder = builder.listen("gateway", listener, service_factory(ListenerRole::Proxy)).map_err(bind_error)?;
    Ok(builder.run())
}

/// Serves a client connection until it ends. On `shutdown`, it ends after its requests in flight.
async fn serve_connection(
    worker: &Rc<WorkerState>,
    socket: TcpStream,
    listener_role: ListenerRole,
    timeouts: ClientTimeouts,
    shutdown: GracefulShutdownSignal,
) {
    // Fails if the client has already disconnected.
    let Ok(peer) = socket.peer_addr() else { return };
    let Some(_guard) = admit_connection(worker, peer.ip()) else {
        // Reset instead of close. On an error the client sees a close.
        let _ = socket.set_zero_linger();
        return;
    };
    // An error is ignored: it costs latency only.
    let _ = socket.set_nodelay(true);
    let Some(stream) = accept_tls(worker, socket, listener_role, timeouts).await else { return };
    let protocol = stream.protocol();
    let shutdown = pin!(shutdown.notified());
    let state = ConnectionState::new(peer.ip(), stream.scheme(), listener_role);
    let io = ClientIo::new(stream, Rc::clone(&state));
    match protocol {
        Protocol::Http1 => http1::serve(worker, io, &state, timeouts, shutdown).await,
        Protocol::Http2 => http2::serve(worker, io, &state, timeouts, shutdown).await,
    }
}

/// Performs the TLS handshake on the public listener if there is a certificate; `None` if the handshake fails or times
/// out.
async fn accept_tls(
    worker: &WorkerState,
    socket: TcpStream,
    listener_role: ListenerRole,
    timeouts: ClientTimeouts,
) -> Option<ClientStream> {
    let tls = worker.shared.tls.as_ref().filter(|_| listener_role == ListenerRole::Proxy);
    let Some(tls) = tls else { return Some(ClientStream::Plain(socket)) };
    match timeout(timeouts.head, tls.accept(socket)).await {
        Ok(Ok(stream)) => Some(ClientStream::Tls(Box::new(stream))),
        Ok(Err(error)) => {
            tracing::debug!(%error, "TLS handshake failed");
            None
        }
        Err(_) => None,
    }
}

/// Counts the connection; `None` if the peer's address is at its per-client limit, so that the connection must be
/// rejected. Trusted proxies have no such limit.
fn admit_connection(worker: &WorkerState, peer: IpAddr) -> Option<ConnectionGuard> {
    let SharedState { connections: counter, counters, .. } = worker.shared.as_ref();
    if worker.shared.config().trusted_proxies.is_trusted_proxy(peer) {
        return Some(counter.acquire_for_proxy());
    }
    let guard = counter.acquire(peer);
    if guard.is_none() {
        counters.count_rejected_connection();
        if let Some(connections) = counter.record_rejection() {
            let (share, address) = (counter.per_client_limit(), client_network(peer));
            tracing::warn!(
                connections,
                last = %address,
                share,
                "connections rejected: the address is at its limit, half of STELE_MAX_CONNECTIONS; if this is the address of \
                 your proxy, add it to STELE_TRUSTED_PROXIES"
            );
        }
    }
    guard
}

/// Closes expired idle connections to services until the worker stops.
async fn close_idle_connections(worker: Weak<WorkerState>) {
    loop {
        sleep(IDLE_SWEEP_INTERVAL).await;
        let Some(worker) = worker.upgrade() else { return };
        worker.pool.close_expired();
    }
}

/// The limit of client connections: `configured`, lowered to what the limit of open files allows. A client connection
/// counts twice, because it may need an upstream connection.
fn effective_connection_limit(configured: usize) -> usize {
    let files =
        listener::raise_open_file_limit().map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX));
    let limit = (files.saturating_sub(RESERVED_FILES) / 2).max(1);
    if limit < configured {
        tracing::warn!(
            files,
            connections = limit,
            "STELE_MAX_CONNECTIONS exceeds the open file limit and was lowered; raise `ulimit -n` (LimitNOFILE)"
        );
    }
    limit.min(configured)
}

fn gateway_secret_header(secret: &str) -> Result<HeaderValue, ConfigError> {
    let mut header = HeaderValue::from_str(secret)
        .map_err(|_| ConfigError::new("the gateway secret is invalid: it must be printable ASCII".to_owned()))?;
    header.set_sensitive(true);
    Ok(header)
}
