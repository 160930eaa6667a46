//! The server and the client it passes requests on with.

use std::future::ready;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use actix_http::{HttpServiceBuilder, KeepAlive};
use actix_server::Server;
use actix_service::{ServiceFactoryExt as _, fn_service, map_config};
use actix_web::dev::AppConfig;
use actix_web::http::header::HeaderValue;
use actix_web::{App, web};
use awc::{Client, Connector};
use rustix::process::{Resource, getrlimit, setrlimit};
use stele_web::config::ConfigError;
use stele_web::net;
use tokio::net::TcpStream;

use crate::connection::{Connection, Times};
use crate::live::Live;
use crate::proxy::{Gate, handle};
use crate::supervise;

/// Requests a worker has in flight to all services.
const MOST_IN_FLIGHT: usize = 10_000;
const KEEP_CLIENTS: Duration = Duration::from_secs(75);
/// The services keep idle connections for longer (75 s): one closed just as it is taken up would be a request lost.
const KEEP_UPSTREAMS: Duration = Duration::from_secs(15);
/// An instance on this network accepts at once, or another one is asked.
const CONNECT: Duration = Duration::from_secs(2);
/// How long requests in flight may take to end once the gateway is told to stop.
const GRACE_SECONDS: u64 = 10;
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
    actix_web::rt::spawn(supervise::watch(Arc::downgrade(&live)));
    // A worker that has its share takes no more; when none does, clients wait until the system has them accepted.
    let builder = Server::build().workers(config.workers).max_concurrent_connections(most.div_ceil(config.workers));
    let stopping = builder.graceful_shutdown_signal();
    let times = Times { head: config.limits.head_time, answer: config.limits.body_time };
    let service = move || {
        let gate = Gate { live: live.clone(), hop: hop.clone(), client: client() };
        let app = App::new().app_data(web::Data::new(gate)).default_service(web::to(handle));
        let stopping = stopping.clone();
        let http = HttpServiceBuilder::default()
            .keep_alive(KeepAlive::Timeout(KEEP_CLIENTS))
            // The connection times every head, not only its first.
            .client_request_timeout(Duration::ZERO)
            .client_disconnect_timeout(Duration::from_secs(1))
            .graceful_shutdown_signal(move || {
                let stopping = stopping.clone();
                async move { stopping.notified().await }
            })
            .on_connect_ext(|connection: &Connection, data| {
                data.insert(connection.turn());
            })
            .h1(map_config(app, |_| AppConfig::default()));
        let held = Arc::clone(&live.held);
        let connect = move |socket: TcpStream| {
            // Without it answers are late, not wrong.
            let _ = socket.set_nodelay(true);
            let peer = socket.peer_addr().ok();
            ready(Ok((Connection::new(socket, times, Arc::clone(&held)), peer)))
        };
        fn_service(connect).and_then(http)
    };
    let server = builder.shutdown_timeout(GRACE_SECONDS).disable_signals().listen("gateway", listener, service);
    Ok(server.map_err(fault)?.run())
}

/// How many connections of clients there may be: `most`, or what open files allow. Each may need another one, to a
/// service, and a gateway that has none left for that answers nobody.
fn room_for(most: usize) -> usize {
    let files = raise_open_files().map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX));
    let room = (files.saturating_sub(OTHER_FILES) / 2).max(1);
    if room < most {
        tracing::warn!(files, connections = room, "fewer connections than STELE_MAX_CONNECTIONS: too few open files");
    }
    room.min(most)
}

/// Each connection is an open file, and many systems allow a process 1024 of them until it asks for more. How many it
/// may have now.
fn raise_open_files() -> Option<u64> {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current < limit.maximum || limit.maximum.is_none() {
        limit.current = limit.maximum.or(limit.current.max(Some(1 << 20)));
        if let Err(cause) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!(%cause, "the limit of open files stays as it is");
        }
    }
    getrlimit(Resource::Nofile).current
}

/// Answers are passed on as they are: neither followed nor unpacked, and timed by the caller.
fn client() -> Client {
    let connector = Connector::new().timeout(CONNECT).conn_keep_alive(KEEP_UPSTREAMS).limit(MOST_IN_FLIGHT);
    Client::builder().connector(connector).no_default_headers().disable_redirects().disable_timeout().finish()
}

fn hop_header(secret: &str) -> Result<HeaderValue, ConfigError> {
    let mut header = HeaderValue::from_str(secret)
        .map_err(|_| ConfigError::new("the hop secret must be printable ASCII".to_owned()))?;
    header.set_sensitive(true);
    Ok(header)
}
