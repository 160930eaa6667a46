//! The server: its workers, and what each does with a connection.

use std::future::Future as _;
use std::net::{IpAddr, TcpListener};
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use actix_server::{GracefulShutdownSignal, Server};
use actix_service::fn_service;
use actix_web::http::header::HeaderValue;
use stele_service::config::ConfigError;
use stele_service::net;
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::client::{Client, Said, Times};
use crate::held::{self, Hold};
use crate::live::Live;
use crate::proxy::{Gate, Then, answer};
use crate::supervise;
use crate::upstreams::links::Links;

/// How long requests in flight may take to end once the gateway is told to stop.
const GRACE_SECONDS: u64 = 10;
/// How often idle connections to services are looked through for those that nobody has used for a while.
const SWEEP: Duration = Duration::from_secs(5);
/// As many connections as people behind one address may need.
const LEAST_SHARE: usize = 2_000;
/// Open files that are no connections of requests: listeners, health checks, what runs in the same process.
const OTHER_FILES: usize = 256;

/// Serves on `listener`, and looks after the instances beside it.
pub(crate) fn start(live: Arc<Live>, listener: TcpListener) -> Result<Server, ConfigError> {
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
    actix_web::rt::spawn(supervise::watch(Arc::downgrade(&live)));
    // A worker that has its share takes no more; when none does, clients wait until the system has them accepted.
    let share = most.div_ceil(config.workers);
    let builder = Server::build().workers(config.workers).max_concurrent_connections(share);
    let stopping = builder.graceful_shutdown_signal();
    let times = Times { head: config.limits.head_time, answer: config.limits.body_time };
    let service = move || {
        let gate = Rc::new(Gate { live: Arc::clone(&live), hop: hop.clone(), links: Links::new(share) });
        actix_web::rt::spawn(sweep(Rc::downgrade(&gate)));
        let stopping = stopping.clone();
        fn_service(move |socket: TcpStream| {
            let (gate, stopping) = (Rc::clone(&gate), stopping.clone());
            async move {
                serve(&gate, socket, times, stopping).await;
                Ok::<_, ()>(())
            }
        })
    };
    let server = builder.shutdown_timeout(GRACE_SECONDS).disable_signals().listen("gateway", listener, service);
    Ok(server.map_err(fault)?.run())
}

/// Answers a client until its connection is over, or the server stops.
async fn serve(gate: &Gate, socket: TcpStream, times: Times, stopping: GracefulShutdownSignal) {
    // A client that has gone already has no address.
    let Ok(mut client) = Client::new(socket, times) else { return };
    let Some(_hold) = admit(gate, client.peer) else { return client.cut() };
    let mut stop = pin!(stopping.notified());
    let mut stopped = false;
    let (mut head, mut out, mut first) = (Vec::new(), Vec::new(), true);
    loop {
        let mut is_stopped = |cx: &mut Context<'_>| {
            stopped = stopped || stop.as_mut().poll(cx).is_ready();
            stopped
        };
        let length = match client.head(std::mem::take(&mut first), &mut is_stopped).await {
            Said::Head(length) => length,
            Said::Nothing => return client.close(false).await,
            Said::Nonsense(last_word) => {
                // Who is gone need not be told.
                let _ = client.tell(last_word).await;
                return client.close(true).await;
            }
        };
        head.clear();
        head.extend(client.come().drain(..length));
        match answer(gate, &mut client, &head, &mut out).await {
            Then::Keep => {}
            Then::Close { unread } => return client.close(unread).await,
            Then::Cut => return client.cut(),
        }
        for buffer in [&mut head, &mut out] {
            buffer.clear();
            buffer.shrink_to(MOST_KEPT);
        }
        client.shrink();
    }
}

/// Counts the connection; `None` if its address holds its share of all, so that it must be closed.
fn admit(gate: &Gate, peer: IpAddr) -> Option<Hold> {
    let Live { held, count, .. } = gate.live.as_ref();
    if gate.live.config().trust.is_proxy(peer) {
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

/// The room that a connection keeps from one request to the next.
const MOST_KEPT: usize = 4 * 1024;

/// Closes the connections to services that nobody uses, for as long as the worker works.
async fn sweep(gate: Weak<Gate>) {
    loop {
        sleep(SWEEP).await;
        let Some(gate) = gate.upgrade() else { return };
        gate.links.sweep();
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
