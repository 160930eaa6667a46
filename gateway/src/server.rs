//! The server and the client it passes requests on with.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::http::KeepAlive;
use actix_web::http::header::HeaderValue;
use actix_web::{App, HttpServer, web};
use awc::{Client, Connector};
use rustix::process::{Resource, getrlimit, setrlimit};
use stele_web::config::ConfigError;
use stele_web::net;

use crate::live::Live;
use crate::proxy::{Gate, handle};
use crate::supervise;

/// Connections a worker holds. One address may have them all; it is the services that limit what one may try.
const MOST_CONNECTIONS: usize = 25_000;
/// Requests a worker has in flight to all services.
const MOST_IN_FLIGHT: usize = 10_000;
const KEEP_CLIENTS: Duration = Duration::from_secs(75);
/// The services keep idle connections for longer (75 s): one closed just as it is taken up would be a request lost.
const KEEP_UPSTREAMS: Duration = Duration::from_secs(15);
/// An instance on this network accepts at once, or another one is asked.
const CONNECT: Duration = Duration::from_secs(2);
/// How long requests in flight may take to end once the gateway is told to stop.
const GRACE_SECONDS: u64 = 10;

/// Serves on `listener`, and looks after the instances beside it.
pub(crate) fn start(live: Arc<Live>, listener: TcpListener) -> Result<Server, ConfigError> {
    let fault = |e: std::io::Error| ConfigError::new(format!("gateway: cannot listen: {e}"));
    raise_open_files();
    net::lengthen(&listener)?;
    let config = live.config();
    let hop = config.hop.as_ref().map(|secret| hop_header(secret)).transpose()?;
    actix_web::rt::spawn(supervise::watch(Arc::downgrade(&live)));
    let server = HttpServer::new(move || {
        let gate = Gate { live: live.clone(), hop: hop.clone(), client: client() };
        App::new().app_data(web::Data::new(gate)).default_service(web::to(handle))
    })
    .workers(config.workers)
    .max_connections(MOST_CONNECTIONS)
    .keep_alive(KeepAlive::Timeout(KEEP_CLIENTS))
    .client_request_timeout(config.limits.head_time)
    .client_disconnect_timeout(Duration::from_secs(1))
    .tcp_nodelay(true)
    .shutdown_timeout(GRACE_SECONDS)
    .disable_signals()
    .listen(listener)
    .map_err(fault)?;
    Ok(server.run())
}

/// Each connection is an open file, and many systems allow a process 1024 of them until it asks for more.
fn raise_open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current < limit.maximum || limit.maximum.is_none() {
        limit.current = limit.maximum.or(limit.current.max(Some(1 << 20)));
        if let Err(cause) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!(%cause, "the limit of open files stays as it is");
        }
    }
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
