//! The server and the client it passes requests on with.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::http::KeepAlive;
use actix_web::http::header::HeaderValue;
use actix_web::{App, HttpServer, web};
use awc::{Client, Connector};
use rustix::process::{Resource, getrlimit, setrlimit};
use stele_web::config::{ConfigError, Settings};
use stele_web::{admin, cli, healthcheck, net, serve, telemetry};

use crate::config::{COMMON, Config, SETTINGS};
use crate::proxy::{Gate, handle};

const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
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

/// Starts the gateway on `listener`. It stops when its handle says so; it does not listen to signals.
///
/// # Errors
/// If the hop secret is not fit for a header, or the listener cannot be used.
pub fn start(config: Config, listener: TcpListener) -> Result<Server, ConfigError> {
    let fault = |e: std::io::Error| ConfigError::new(format!("gateway: cannot listen: {e}"));
    raise_open_files();
    net::lengthen(&listener)?;
    let hop = config.hop.as_ref().map(|secret| hop_header(secret)).transpose()?;
    let probe = config.probe();
    let (workers, head_time) = (config.workers, config.limits.head_time);
    let config = Arc::new(config);
    let server = HttpServer::new(move || {
        let gate = Gate { config: config.clone(), hop: hop.clone(), probe: probe.clone(), client: client() };
        App::new().app_data(web::Data::new(gate)).default_service(web::to(handle))
    })
    .workers(workers)
    .max_connections(MOST_CONNECTIONS)
    .keep_alive(KeepAlive::Timeout(KEEP_CLIENTS))
    .client_request_timeout(head_time)
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

/// The gateway as a program: the whole of its `main`.
pub fn run() -> ExitCode {
    let known = [COMMON, SETTINGS];
    let command = cli::command("gateway", "The public address of Stele: routes by URL prefix", &known);
    let matches = match cli::matches(command) {
        Ok(matches) => matches,
        Err(code) => return code,
    };
    if let Some(code) = healthcheck::asked(&matches, &known, DEFAULT_LISTEN) {
        return code;
    }
    let run = || {
        let settings = cli::settings(&matches, &known)?;
        telemetry::start(&settings)?;
        actix_web::rt::System::new().block_on(serve_until_told(settings))
    };
    cli::exit(run())
}

async fn serve_until_told(settings: Settings) -> Result<(), ConfigError> {
    let config = Config::from_settings(&settings)?;
    let listen = settings.address("STELE_LISTEN", DEFAULT_LISTEN)?;
    let admin_listen = settings.address("STELE_ADMIN_LISTEN", serve::admin_default(listen))?;
    let listener = net::bind(listen, "STELE_LISTEN")?;
    let admin_listener = net::bind(admin_listen, "STELE_ADMIN_LISTEN")?;
    let probe = config.probe();
    let ready = move || {
        let probe = probe.clone();
        Box::pin(async move { probe.missing().await.is_empty() }) as _
    };
    // Port 0 asks the system for one; the log says which.
    let (listen, admin_listen) = (bound(&listener, listen), bound(&admin_listener, admin_listen));
    let server = start(config, listener)?;
    actix_web::rt::spawn(admin::serve(admin_listener, Arc::new(ready))?);
    actix_web::rt::spawn(serve::stop_on_signal(vec![server.handle()]));
    tracing::info!(%listen, %admin_listen, "ready");
    server.await.map_err(|e| ConfigError::new(format!("gateway: {e}")))
}

fn bound(listener: &TcpListener, asked: SocketAddr) -> SocketAddr {
    listener.local_addr().unwrap_or(asked)
}
