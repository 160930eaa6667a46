//! Starts Redis, the reverse proxies nginx and haproxy, and the empty handler behind them; generates the TLS
//! certificate.

use std::fmt::Display;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use stele_bench_kit::{BenchError, Result};

use crate::external_tools;
use crate::server_process::{ServerProcess, accepts_connections, free_address};

/// A running server and its address.
#[derive(Debug)]
pub(crate) struct RunningServer {
    pub(crate) process: ServerProcess,
    pub(crate) address: SocketAddr,
}

/// Starts Redis as in `docker-compose.yml`, with an append-only file that is synced every second.
///
/// # Errors
/// If it does not start.
pub(crate) fn start_redis(folder: &Path) -> Result<RunningServer> {
    let address = free_address()?;
    let mut command = Command::new(external_tools::require_tool("redis-server")?);
    command.args(["--bind", "127.0.0.1", "--port", &address.port().to_string(), "--dir"]).arg(folder);
    command.args(["--save", "", "--appendonly", "yes", "--appendfsync", "everysec"]);
    // Rewritten between rounds instead of during a measurement.
    command.args(["--auto-aof-rewrite-percentage", "0"]);
    start_server("redis", &command, "TERM", folder, address)
}

/// Empties Redis and rewrites its append-only file, so that rounds start alike.
///
/// # Errors
/// If a command fails, or the rewrite takes more than 30 seconds.
pub(crate) fn flush_redis(redis: SocketAddr) -> Result<()> {
    use std::io::{Read as _, Write as _};
    let run_command = |command: &str| -> Result<String> {
        let mut stream = std::net::TcpStream::connect(redis)?;
        stream.write_all(format!("{command}\r\nQUIT\r\n").as_bytes())?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply)?;
        Ok(reply)
    };
    run_command("FLUSHALL")?;
    run_command("BGREWRITEAOF")?;
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while !run_command("INFO persistence")?.contains("aof_rewrite_in_progress:0") {
        if std::time::Instant::now() > deadline {
            return Err(BenchError::new("Redis did not finish rewriting its append-only file in 30 s"));
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    Ok(())
}

/// Starts the empty actix handler.
///
/// # Errors
/// If it does not start.
pub(crate) fn start_upstream(folder: &Path) -> Result<RunningServer> {
    let address = free_address()?;
    let mut command = Command::new(std::env::current_exe()?.with_file_name("upstream"));
    command.arg(address.to_string());
    start_server("upstream", &command, "TERM", folder, address)
}

/// A certificate for 127.0.0.1 and its key, as files, used by the gateway and nginx.
#[derive(Clone, Debug)]
pub(crate) struct TestCertificate {
    pub(crate) chain: PathBuf,
    pub(crate) key: PathBuf,
}

impl TestCertificate {
    /// Generates a self-signed certificate with a P-256 key.
    ///
    /// # Errors
    /// If `openssl` fails.
    pub(crate) fn generate(folder: &Path) -> Result<Self> {
        let (chain, key) = (folder.join("tls.pem"), folder.join("tls.key"));
        let mut command = Command::new(external_tools::require_tool("openssl")?);
        command.args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
        ]);
        command.args(["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout"]);
        let ended = command.arg(&key).arg("-out").arg(&chain).output()?;
        if ended.status.success() {
            return Ok(Self { chain, key });
        }
        Err(BenchError::new(format!("openssl: {}", String::from_utf8_lossy(&ended.stderr).trim())))
    }
}

/// Starts nginx with one worker. It listens on one address for each upstream, and on a last one with TLS (HTTP/1.1 and
/// HTTP/2) for the first upstream.
///
/// # Errors
/// If it does not start.
pub(crate) fn start_nginx(
    folder: &Path,
    upstreams: &[impl Display],
    TestCertificate { chain, key }: &TestCertificate,
) -> Result<(ServerProcess, Vec<SocketAddr>)> {
    let addresses: Vec<_> = (0..=upstreams.len()).map(|_| free_address()).collect::<Result<_>>()?;
    let mut servers = String::new();
    for (number, (address, upstream)) in addresses.iter().zip(upstreams).enumerate() {
        servers += &format!(
            "upstream u{number} {{ server {upstream}; keepalive 256; keepalive_requests 1000000000; }}\n\
             server {{ listen {address}; keepalive_requests 1000000000;\n\
             location / {{ proxy_pass http://u{number}; proxy_http_version 1.1; proxy_set_header Connection \"\";\n\
             proxy_set_header X-Forwarded-For $remote_addr; }} }}\n"
        );
    }
    if let Some(address) = addresses.last() {
        servers += &format!(
            "server {{ listen {address} ssl http2; keepalive_requests 1000000000; ssl_protocols TLSv1.2 TLSv1.3;\n\
             ssl_certificate {}; ssl_certificate_key {};\n\
             location / {{ proxy_pass http://u0; proxy_http_version 1.1; proxy_set_header Connection \"\";\n\
             proxy_set_header X-Forwarded-For $remote_addr; }} }}\n",
            chain.display(),
            key.display()
        );
    }
    let process = start_nginx_with(folder, "nginx", &servers)?;
    process.wait_until(|| addresses.iter().all(|address| accepts_connections(*address)))?;
    Ok((process, addresses))
}

/// Starts nginx with one worker and these blocks `upstream` and `server`.
///
/// # Errors
/// If it does not start.
pub(crate) fn start_nginx_with(folder: &Path, name: &'static str, servers: &str) -> Result<ServerProcess> {
    let user = if rustix::process::geteuid().is_root() { "user root;\n" } else { "" };
    let at = folder.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {at}/nginx-{kind};\n"))
        .concat();
    let config = format!(
        "{user}daemon off; worker_processes 1; pid {at}/nginx.pid; error_log {at}/nginx.log warn;\n\
         events {{ worker_connections 16384; }}\nhttp {{ access_log off; tcp_nodelay on;\n{temporary}{servers}}}\n"
    );
    let file = folder.join("nginx.conf");
    std::fs::write(&file, config)?;
    let mut command = Command::new(external_tools::require_tool("nginx")?);
    command.arg("-e").arg(folder.join("nginx.log")).arg("-c").arg(&file);
    ServerProcess::start(name, &command, "QUIT", folder.join("nginx.out"))
}

/// Starts haproxy with one thread. It listens on one address for each upstream.
///
/// # Errors
/// If it does not start.
pub(crate) fn start_haproxy(folder: &Path, upstreams: &[SocketAddr]) -> Result<(ServerProcess, Vec<SocketAddr>)> {
    let addresses: Vec<_> = upstreams.iter().map(|_| free_address()).collect::<Result<_>>()?;
    let mut config = "global\n  nbthread 1\n  maxconn 8000\ndefaults\n  mode http\n  timeout connect 5s\n  \
                      timeout client 75s\n  timeout server 30s\n  option http-keep-alive\n  http-reuse always\n  \
                      option forwardfor\n"
        .to_owned();
    for (number, (address, upstream)) in addresses.iter().zip(upstreams).enumerate() {
        config += &format!(
            "frontend f{number}\n  bind {address}\n  default_backend b{number}\nbackend b{number}\n  \
             server s {upstream}\n"
        );
    }
    let file = folder.join("haproxy.cfg");
    std::fs::write(&file, config)?;
    let mut command = Command::new(external_tools::require_tool("haproxy")?);
    command.args(["-db", "-f"]).arg(&file);
    let process = ServerProcess::start("haproxy", &command, "TERM", folder.join("haproxy.out"))?;
    process.wait_until(|| addresses.iter().all(|address| accepts_connections(*address)))?;
    Ok((process, addresses))
}

fn start_server(
    name: &'static str,
    command: &Command,
    stop_signal: &str,
    folder: &Path,
    address: SocketAddr,
) -> Result<RunningServer> {
    let process = ServerProcess::start(name, command, stop_signal, folder.join(format!("{name}.log")))?;
    process.wait_until(|| accepts_connections(address))?;
    Ok(RunningServer { process, address })
}
