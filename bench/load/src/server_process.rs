//! A server while it runs: any program, ended by its own process id.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use stele_bench_kit::{BenchError, Result};

/// How long a server may take to be up.
const STARTUP_TIMEOUT: Duration = Duration::from_secs(60);

/// Starts the program, tells its id, and ends it when told to, or when whoever started it is gone, however it went.
///
/// The program has a session of its own, as whatever starts services gives it: Linux shares the processors out by
/// session (autogroup), and all servers and the load in one would compete with PostgreSQL, which makes its own, as if
/// they were one.
const SUPERVISOR_SCRIPT: &str = r#"
    log=$1 end=$2; shift 2
    setsid "$@" </dev/null >>"$log" 2>&1 & program=$!
    echo "$program"
    read -r _
    kill -s "$end" "$program"; wait "$program""#;

/// A program that runs until it is dropped.
#[derive(Debug)]
pub(crate) struct ServerProcess {
    /// What it is called in tables.
    pub(crate) name: &'static str,
    /// Its process id.
    pub(crate) process_id: u32,
    supervisor: Option<Child>,
    log: PathBuf,
}

impl ServerProcess {
    /// Starts `command`, whose output goes to the file `log`, and which ends in good order by the signal `end`.
    ///
    /// # Errors
    /// If it cannot be started.
    pub(crate) fn start(name: &'static str, command: &Command, end: &str, log: PathBuf) -> Result<Self> {
        let mut nurse = Command::new("sh");
        nurse
            .args(["-c", SUPERVISOR_SCRIPT, "sh"])
            .arg(&log)
            .arg(end)
            .arg(command.get_program())
            .args(command.get_args());
        for (variable, value) in command.get_envs() {
            match value {
                Some(value) => nurse.env(variable, value),
                None => nurse.env_remove(variable),
            };
        }
        if let Some(folder) = command.get_current_dir() {
            nurse.current_dir(folder);
        }
        // A group of its own: whoever interrupts this program from a terminal leaves the rest to the nurse.
        nurse.process_group(0);
        let mut nurse = nurse.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let mut id = String::new();
        if let Some(pipe) = nurse.stdout.take() {
            BufReader::new(pipe).read_line(&mut id)?;
        }
        let id = id.trim().parse().map_err(|_| BenchError::new(format!("{name} cannot be started")))?;
        Ok(Self { name, process_id: id, supervisor: Some(nurse), log })
    }

    /// Waits until `ready` says so. It is asked every millisecond.
    ///
    /// # Errors
    /// If the program ends, or patience does; with what it printed.
    pub(crate) fn wait_until(&self, mut ready: impl FnMut() -> bool) -> Result<()> {
        let deadline = Instant::now() + STARTUP_TIMEOUT;
        while !ready() {
            if !self.is_running() || Instant::now() > deadline {
                return Err(BenchError::new(format!("{} does not come up: {}", self.name, self.log())));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// What it printed and logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read(&self.log).map(|log| String::from_utf8_lossy(&log).into_owned()).unwrap_or_default()
    }

    fn is_running(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process_id)).unwrap_or_default();
        stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        if let Some(mut nurse) = self.supervisor.take() {
            // Its end is what the nurse waits for.
            drop(nurse.stdin.take());
            let _ = nurse.wait();
        }
    }
}

/// An address of loopback that nobody has now.
///
/// # Errors
/// If there is none.
pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// Whether somebody accepts connections there.
pub(crate) fn accepts_connections(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_ok()
}

/// Whether `GET path` there is answered with 200.
pub(crate) fn returns_200(address: SocketAddr, path: &str) -> bool {
    use std::io::Read as _;
    let ask = || -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n").as_bytes())?;
        let mut head = vec![0; 12];
        stream.read_exact(&mut head)?;
        Ok(head)
    };
    ask().is_ok_and(|head| head == b"HTTP/1.1 200")
}
