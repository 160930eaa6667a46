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
use stele_service::net;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::client_io::{ClientIo, ClientStream};
use crate::connection::{ConnectionState, EntryPoint, Protocol, Times};
use crate::held::{self, Hold};
use crate::live::Live;
use crate::proxy::WorkerState;
use crate::upstreams::pool::ConnectionPool;
use crate::{http1, http2, supervise, tls};

/// How long requests in flight may take to end once the gateway is told to stop.
const GRACE_SECONDS: u64 = 10;
/// How often idle connections to services are looked through for those that nobody has used for a while.
const SWEEP: Duration = Duration::from_secs(5);
/// As many connections as people behind one address may need.
const LEAST_SHARE: usize = 2_000;
/// Open files that are no connections of requests: listeners, health checks, what runs in the same process.
const OTHER_FILES: usize = 256;

/// Serves on `listener`, and looks after the instances beside it.
pub(crate) fn start(live: &Arc<Live>, listener: TcpListener) -> Result<Server, ConfigError> {
    let fault = |e: std::io::Error| ConfigError::new(format!("gateway: cannot listen: {e}"));
    net::lengthen(&listener)?;
    let config = live.config();
    let hop = config.hop.as_ref().map(|secret| hop_header(secret)).transpose()?;
    let most = room_for(config.limits.connections);
    live.held.allow(most);
    if live.held.share() < LEAST_SHARE {
        let share = live.held.share();
        tracing::warn!(share, "a client address may hold few connections, half of all; 2,000 need 4,000 in all");
    }
    actix_rt::spawn(supervise::watch(Arc::downgrade(live)));
    // A worker that has its share takes no more; when none does, clients wait until the system has them accepted.
    let share = most.div_ceil(config.workers);
    let builder = Server::build().workers(config.workers).max_concurrent_connections(share);
    let stopping = builder.graceful_shutdown_signal();
    let times = Times { head: config.limits.head_time, answer: config.limits.body_time };
    let redirect = config.redirect.map(|redirect| redirect.bind(&listener)).transpose()?;
    if let Some(tls) = &live.tls {
        actix_rt::spawn(tls::watch(Arc::downgrade(tls)));
    }
    let service = |entry_point| {
        let (live, hop, stopping) = (Arc::clone(live), hop.clone(), stopping.clone());
        move || {
            let pool = ConnectionPool::new(share);
            let worker = Rc::new(WorkerState { live: Arc::clone(&live), hop: hop.clone(), pool });
            actix_rt::spawn(sweep(Rc::downgrade(&worker)));
            let stopping = stopping.clone();
            fn_service(move |socket: TcpStream| {
                let (worker, stopping) = (Rc::clone(&worker), stopping.clone());
                async move {
                    serve(&worker, socket, entry_point, times, stopping).await;
                    Ok::<_, ()>(())
                }
            })
        }
    };
    let mut builder = builder.shutdown_timeout(GRACE_SECONDS).disable_signals();
    if let Some((port, listener)) = redirect {
        builder = builder.listen("redirect", listener, service(EntryPoint::Redirect(port))).map_err(fault)?;
    }
    builder = builder.listen("gateway", listener, service(EntryPoint::Routes)).map_err(fault)?;
    Ok(builder.run())
}

/// Answers a client until its connection is over, or the server stops.
async fn serve(
    worker: &Rc<WorkerState>,
    socket: TcpStream,
    entry_point: EntryPoint,
    times: Times,
    stopping: GracefulShutdownSignal,
) {
    // A client that has gone already has no address.
    let Ok(peer) = socket.peer_addr() else { return };
    let Some(_guard) = admit(worker, peer.ip()) else {
        // Without it the client sees a close.
        let _ = socket.set_zero_linger();
        return;
    };
    // Without it messages are late, not wrong.
    let _ = socket.set_nodelay(true);
    let Some(stream) = secure(worker, socket, entry_point, times).await else { return };
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
async fn secure(
    worker: &WorkerState,
    socket: TcpStream,
    entry_point: EntryPoint,
    times: Times,
) -> Option<ClientStream> {
    let tls = worker.live.tls.as_ref().filter(|_| entry_point == EntryPoint::Routes);
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
fn admit(worker: &WorkerState, peer: IpAddr) -> Option<Hold> {
    let Live { held, count, .. } = worker.live.as_ref();
    if worker.live.config().trust.is_proxy(peer) {
        return Some(held.hold_proxy());
    }
    let hold = held.hold(peer);
    if hold.is_none() {
        count.connection_refused();
        if let Some(connections) = held.refuse() {
            let (share, address) = (held.share(), held::origin(peer));
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
async fn sweep(worker: Weak<WorkerState>) {
    loop {
        sleep(SWEEP).await;
        let Some(worker) = worker.upgrade() else { return };
        worker.pool.sweep();
    }
}

/// How many connections of clients there may be: `most`, or what open files allow. Each may need another one, to a
/// service, and a gateway that has none left for that answers nobody.
fn room_for(most: usize) -> usize {
    let files = net::raise_open_files().map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX));
    let room = (files.saturating_sub(OTHER_FILES) / 2).max(1);
    if room < most {
        tracing::warn!(files, connections = room, "fewer connections than STELE_MAX_CONNECTIONS: too few open files");
    }
    room.min(most)
}

fn hop_header(secret: &str) -> Result<HeaderValue, ConfigError> {
    let mut header = HeaderValue::from_str(secret)
        .map_err(|_| ConfigError::new("the hop secret must be printable ASCII".to_owned()))?;
    header.set_sensitive(true);
    Ok(header)
}
