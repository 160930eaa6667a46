//! A server process under a supervising shell: start, readiness, stop when dropped.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use stele_bench_kit::{BenchError, Result};

/// The longest that a server may take until it is ready.
const STARTUP_TIMEOUT: Duration = Duration::from_secs(60);

/// Starts the program, prints its process id, and sends it the signal `$end` when standard input closes, which also
/// happens if the parent process is killed.
///
/// The program gets its own session, as a service manager would give it. Linux divides CPU time
/// between sessions (autogroup): in one common session, all servers and the load generator together would get as much
/// as PostgreSQL alone, which creates a session of its own.
const SUPERVISOR_SCRIPT: &str = r#"
    log=$1 end=$2; shift 2
    setsid "$@" </dev/null >>"$log" 2>&1 & program=$!
    echo "$program"
    read -r _
    kill -s "$end" "$program"; wait "$program""#;

/// A running program; dropping it stops it.
#[derive(Debug)]
pub(crate) struct ServerProcess {
    /// The name in reports.
    pub(crate) name: &'static str,
    /// The process id.
    pub(crate) process_id: u32,
    supervisor: Option<Child>,
    log: PathBuf,
}

impl ServerProcess {
    /// Starts `command` with its output in the file `log`. The signal `stop_signal` stops it gracefully.
    ///
    /// # Errors
    /// If it cannot be started.
    pub(crate) fn start(name: &'static str, command: &Command, stop_signal: &str, log: PathBuf) -> Result<Self> {
        let mut supervisor = Command::new("sh");
        supervisor
            .args(["-c", SUPERVISOR_SCRIPT, "sh"])
            .arg(&log)
            .arg(stop_signal)
            .arg(command.get_program())
            .args(command.get_args());
        for (variable, value) in command.get_envs() {
            match value {
                Some(value) => supervisor.env(variable, value),
                None => supervisor.env_remove(variable),
            };
        }
        if let Some(folder) = command.get_current_dir() {
            supervisor.current_dir(folder);
        }
        // In its own process group, so that Ctrl-C in the terminal does not reach the supervisor.
        supervisor.process_group(0);
        let mut supervisor = supervisor.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let mut id = String::new();
        if let Some(pipe) = supervisor.stdout.take() {
            BufReader::new(pipe).read_line(&mut id)?;
        }
        let id = id.trim().parse().map_err(|_| BenchError::new(format!("{name} cannot be started")))?;
        Ok(Self { name, process_id: id, supervisor: Some(supervisor), log })
    }

    /// Waits until `is_ready` returns true, polling every millisecond.
    ///
    /// # Errors
    /// If the program exits or the timeout expires; the message contains its output.
    pub(crate) fn wait_until(&self, mut is_ready: impl FnMut() -> bool) -> Result<()> {
        let deadline = Instant::now() + STARTUP_TIMEOUT;
        while !is_ready() {
            if !self.is_running() || Instant::now() > deadline {
                return Err(BenchError::new(format!("{} does not become ready: {}", self.name, self.read_log())));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Reads the output that the program has written so far.
    pub(crate) fn read_log(&self) -> String {
        std::fs::read(&self.log).map(|log| String::from_utf8_lossy(&log).into_owned()).unwrap_or_default()
    }

    fn is_running(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process_id)).unwrap_or_default();
        stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        if let Some(mut supervisor) = self.supervisor.take() {
            // Closing standard input makes the supervisor stop the program.
            drop(supervisor.stdin.take());
            let _ = supervisor.wait();
        }
    }
}

/// A command for `program`, without the caller's `STELE_…` and `OTEL_…` variables.
pub(crate) fn command_without_settings(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("STELE_") || text.starts_with("OTEL_") {
            command.env_remove(&name);
        }
    }
    command
}

/// A loopback address with a free port.
///
/// # Errors
/// If there is none.
pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// Whether a server accepts connections at `address`.
pub(crate) fn accepts_connections(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_ok()
}

/// Whether `GET path` returns 200.
pub(crate) fn returns_200(address: SocketAddr, path: &str) -> bool {
    use std::io::Read as _;
    let request = || -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n").as_bytes())?;
        let mut head = vec![0; 12];
        stream.read_exact(&mut head)?;
        Ok(head)
    };
    request().is_ok_and(|head| head == b"HTTP/1.1 200")
}
