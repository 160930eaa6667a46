//! The server: its workers, and what each does with a connection.

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
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::client_connection::{ClientTimeouts, ConnectionState, ListenerRole, Protocol};
use crate::client_io::{ClientIo, ClientStream};
use crate::connection_limit::{self, ConnectionGuard};
use crate::proxy::WorkerState;
use crate::shared_state::SharedState;
use crate::upstreams::pool::ConnectionPool;
use crate::{health_check, http1, http2, tls};

/// How long requests in flight may take to end once the gateway is told to stop.
const SHUTDOWN_TIMEOUT_SECONDS: u64 = 10;
/// How often idle connections to services are looked through for those that nobody has used for a while.
const IDLE_SWEEP_INTERVAL: Duration = Duration::from_secs(5);
/// As many connections as people behind one address may need.
const MIN_PER_CLIENT_LIMIT: usize = 2_000;
/// Open files that are no connections of requests: listeners, health checks, what runs in the same process.
const RESERVED_FILES: usize = 256;

/// Serves on `listener`, and looks after the instances beside it.
pub(crate) fn start(live: &Arc<SharedState>, listener: TcpListener) -> Result<Server, ConfigError> {
    let fault = |e: std::io::Error| ConfigError::new(format!("gateway: cannot listen: {e}"));
    listener::set_backlog(&listener)?;
    let config = live.config();
    let hop = config.hop_secret.as_ref().map(|secret| hop_secret_header(secret)).transpose()?;
    let most = effective_connection_limit(config.limits.max_connections);
    live.connections.set_limit(most);
    if live.connections.per_client_limit() < MIN_PER_CLIENT_LIMIT {
        let share = live.connections.per_client_limit();
        tracing::warn!(share, "a client address may hold few connections, half of all; 2,000 need 4,000 in all");
    }
    actix_rt::spawn(health_check::run(Arc::downgrade(live)));
    // A worker that has its share takes no more; when none does, clients wait until the system has them accepted.
    let share = most.div_ceil(config.workers);
    let builder = Server::build().workers(config.workers).max_concurrent_connections(share);
    let stopping = builder.graceful_shutdown_signal();
    let times = ClientTimeouts { head: config.limits.head_timeout, send: config.limits.body_timeout };
    let redirect = config.redirect.map(|redirect| redirect.bind(&listener)).transpose()?;
    if let Some(tls) = &live.tls {
        actix_rt::spawn(tls::watch_files(Arc::downgrade(tls)));
    }
    let service = |entry_point| {
        let (live, hop, stopping) = (Arc::clone(live), hop.clone(), stopping.clone());
        move || {
            let pool = ConnectionPool::new(share);
            let worker = Rc::new(WorkerState { shared: Arc::clone(&live), hop_secret: hop.clone(), pool });
            actix_rt::spawn(close_idle_connections(Rc::downgrade(&worker)));
            let stopping = stopping.clone();
            fn_service(move |socket: TcpStream| {
                let (worker, stopping) = (Rc::clone(&worker), stopping.clone());
                async move {
                    serve_connection(&worker, socket, entry_point, times, stopping).await;
                    Ok::<_, ()>(())
                }
            })
        }
    };
    let mut builder = builder.shutdown_timeout(SHUTDOWN_TIMEOUT_SECONDS).disable_signals();
    if let Some((port, listener)) = redirect {
        builder = builder.listen("redirect", listener, service(ListenerRole::HttpsRedirect(port))).map_err(fault)?;
    }
    builder = builder.listen("gateway", listener, service(ListenerRole::Proxy)).map_err(fault)?;
    Ok(builder.run())
}

/// Answers a client until its connection is over, or the server stops.
async fn serve_connection(
    worker: &Rc<WorkerState>,
    socket: TcpStream,
    entry_point: ListenerRole,
    times: ClientTimeouts,
    stopping: GracefulShutdownSignal,
) {
    // A client that has gone already has no address.
    let Ok(peer) = socket.peer_addr() else { return };
    let Some(_guard) = admit_connection(worker, peer.ip()) else {
        // Without it the client sees a close.
        let _ = socket.set_zero_linger();
        return;
    };
    // Without it messages are late, not wrong.
    let _ = socket.set_nodelay(true);
    let Some(stream) = accept_tls(worker, socket, entry_point, times).await else { return };
    let protocol = stream.protocol();
    let stop = pin!(stopping.notified());
    let state = ConnectionState::new(peer.ip(), stream.scheme(), entry_point);
    let io = ClientIo::new(stream, Rc::clone(&state));
    match protocol {
        Protocol::Http1 => http1::serve(worker, io, &state, times, stop).await,
        Protocol::Http2 => http2::serve(worker, io, &state, times, stop).await,
    }
}

/// TLS over the socket, if there is a certificate; `None` if the client does not end its handshake in time, or cannot.
async fn accept_tls(
    worker: &WorkerState,
    socket: TcpStream,
    entry_point: ListenerRole,
    times: ClientTimeouts,
) -> Option<ClientStream> {
    let tls = worker.shared.tls.as_ref().filter(|_| entry_point == ListenerRole::Proxy);
    let Some(tls) = tls else { return Some(ClientStream::Plain(socket)) };
    match timeout(times.head, tls.accept(socket)).await {
        Ok(Ok(stream)) => Some(ClientStream::Tls(Box::new(stream))),
        Ok(Err(error)) => {
            tracing::debug!(%error, "TLS handshake failed");
            None
        }
        Err(_) => None,
    }
}

/// Counts the connection; `None` if its address holds its share of all, so that it must be closed.
fn admit_connection(worker: &WorkerState, peer: IpAddr) -> Option<ConnectionGuard> {
    let SharedState { connections: held, counters: count, .. } = worker.shared.as_ref();
    if worker.shared.config().trusted_proxies.is_trusted_proxy(peer) {
        return Some(held.acquire_for_proxy());
    }
    let hold = held.acquire(peer);
    if hold.is_none() {
        count.count_rejected_connection();
        if let Some(connections) = held.record_rejection() {
            let (share, address) = (held.per_client_limit(), connection_limit::client_network(peer));
            tracing::warn!(
                connections,
                last = %address,
                share,
                "connections closed: their address holds half of STELE_MAX_CONNECTIONS; a proxy of yours belongs in \
                 STELE_TRUSTED_PROXIES"
            );
        }
    }
    hold
}

/// Closes the connections to services that nobody uses, for as long as the worker works.
async fn close_idle_connections(worker: Weak<WorkerState>) {
    loop {
        sleep(IDLE_SWEEP_INTERVAL).await;
        let Some(worker) = worker.upgrade() else { return };
        worker.pool.close_expired();
    }
}

/// How many connections of clients there may be: `most`, or what open files allow. Each may need another one, to a
/// service, and a gateway that has none left for that answers nobody.
fn effective_connection_limit(most: usize) -> usize {
    let files =
        listener::raise_open_file_limit().map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX));
    let room = (files.saturating_sub(RESERVED_FILES) / 2).max(1);
    if room < most {
        tracing::warn!(files, connections = room, "fewer connections than STELE_MAX_CONNECTIONS: too few open files");
    }
    room.min(most)
}

fn hop_secret_header(secret: &str) -> Result<HeaderValue, ConfigError> {
    let mut header = HeaderValue::from_str(secret)
        .map_err(|_| ConfigError::new("the hop secret must be printable ASCII".to_owned()))?;
    header.set_sensitive(true);
    Ok(header)
}
