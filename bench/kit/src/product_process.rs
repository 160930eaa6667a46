//! A running program of the product: start, readiness, resource usage, stop.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::{BenchError, Result};

/// The longest that a program may take until it is ready.
pub(crate) const STARTUP_TIMEOUT: Duration = Duration::from_secs(60);

/// Starts the program, prints its process id, and sends it the signal that is read from standard input, or TERM when
/// standard input closes because the parent process ended.
const SUPERVISOR_SCRIPT: &str = r#"
    log=$1; shift
    "$@" </dev/null >>"$log" 2>&1 & program=$!
    echo "$program"
    read -r signal || signal=TERM
    kill -s "$signal" "$program"; wait "$program""#;

/// A running program; dropping it stops it.
#[derive(Debug)]
pub struct ProductProcess {
    name: String,
    supervisor: Option<Child>,
    process_id: u32,
    address: SocketAddr,
    admin: SocketAddr,
    log: PathBuf,
}

/// Resources that a process has used.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Processor time of all threads.
    pub cpu: Duration,
    /// Resident memory, in bytes.
    pub resident_bytes: u64,
    /// Peak resident memory, in bytes.
    pub peak_resident_bytes: u64,
}

impl ProductProcess {
    /// Starts `command`, which listens on `address` and on the `admin` address, without waiting until it is ready.
    pub(crate) fn spawn(
        name: &str,
        command: &Command,
        (address, admin): (SocketAddr, SocketAddr),
        log: PathBuf,
    ) -> Result<Self> {
        let mut supervisor = Command::new("sh");
        supervisor.args(["-c", SUPERVISOR_SCRIPT, "sh"]).arg(&log).arg(command.get_program()).args(command.get_args());
        for (variable, value) in command.get_envs() {
            match value {
                Some(value) => supervisor.env(variable, value),
                None => supervisor.env_remove(variable),
            };
        }
        if let Some(folder) = command.get_current_dir() {
            supervisor.current_dir(folder);
        }
        let mut supervisor = supervisor.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let mut id = String::new();
        if let Some(pipe) = supervisor.stdout.take() {
            BufReader::new(pipe).read_line(&mut id)?;
        }
        let id = id.trim().parse().map_err(|_| BenchError::new(format!("{name} cannot be started")))?;
        Ok(Self { name: name.to_owned(), supervisor: Some(supervisor), process_id: id, address, admin, log })
    }

    /// Waits until the program is ready, for at most `timeout`.
    ///
    /// # Errors
    /// If it exits or does not become ready; the message contains its log.
    pub fn wait_until_ready(&self, timeout: Duration) -> Result<()> {
        self.wait_for_success("/readyz", timeout)
    }

    /// Waits until the program responds, for at most `timeout`: a gateway does so before its upstreams are ready.
    ///
    /// # Errors
    /// As [`ProductProcess::wait_until_ready`].
    pub fn wait_until_alive(&self, timeout: Duration) -> Result<()> {
        self.wait_for_success("/healthz", timeout)
    }

    fn wait_for_success(&self, path: &str, timeout: Duration) -> Result<()> {
        let deadline = Instant::now() + timeout;
        while self.get(path).is_none_or(|(status, _)| status != 200) {
            if !self.is_running() || Instant::now() > deadline {
                return Err(BenchError::new(format!("{} does not become ready: {}", self.name, self.read_log())));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// The HTTP status and the body of `/readyz`; `None` if there is no response within 5 s.
    pub fn readiness(&self) -> Option<(u16, String)> {
        self.get("/readyz")
    }

    fn get(&self, path: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(self.address).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).ok()?;
        let mut output = String::new();
        stream.read_to_string(&mut output).ok()?;
        let body = output.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        Some((output.get(9..12)?.parse().ok()?, body.trim().to_owned()))
    }

    /// The name given at the start.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The listening address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The admin address, which serves the metrics.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// The process id.
    pub fn process_id(&self) -> u32 {
        self.process_id
    }

    /// Reads the output and the log that the program has written so far.
    pub fn read_log(&self) -> String {
        std::fs::read(&self.log).map(|log| String::from_utf8_lossy(&log).into_owned()).unwrap_or_default()
    }

    /// The file that receives the program's output.
    pub fn log_file(&self) -> &Path {
        &self.log
    }

    /// Whether the process has not ended.
    pub fn is_running(&self) -> bool {
        // An ended process that was not waited for is a zombie.
        let status = std::fs::read_to_string(format!("/proc/{}/stat", self.process_id)).unwrap_or_default();
        let state = status.rsplit_once(')').map(|(_, rest)| rest.trim_start());
        self.supervisor.is_some() && state.is_some_and(|state| !state.starts_with('Z'))
    }

    /// The resource usage of the process so far. Memory is zero once it has ended, everything once it has been reaped.
    pub fn usage(&self) -> Usage {
        Usage::of_process(self.process_id)
    }
}

impl Usage {
    /// The resource usage of process `id` so far; see [`ProductProcess::usage`].
    pub fn of_process(id: u32) -> Self {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        let fields: Vec<u64> = stat
            .rsplit_once(')')
            .map(|(_, rest)| rest.split_whitespace().skip(1).map(|field| field.parse().unwrap_or_default()).collect())
            .unwrap_or_default();
        // utime and stime are fields 14 and 15 of proc_pid_stat(5); the first three were removed.
        let ticks = fields.get(10..12).map_or(0, |times| times.iter().sum());
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        let status_kibibytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).unwrap_or_default()
        };
        let ticks_per_second = rustix::param::clock_ticks_per_second().max(1);
        Self {
            cpu: Duration::from_micros(ticks * 1_000_000 / ticks_per_second),
            resident_bytes: status_kibibytes("VmRSS") * 1024,
            peak_resident_bytes: status_kibibytes("VmHWM") * 1024,
        }
    }
}

impl ProductProcess {
    /// Stops the process with SIGTERM, as a service manager does, and waits for it. Returns the exit code; `None` if a
    /// signal ended it.
    pub fn stop(&mut self) -> Option<i32> {
        self.stop_with("TERM")
    }

    /// Kills the process with SIGKILL.
    pub fn kill(&mut self) {
        self.stop_with("KILL");
    }

    fn stop_with(&mut self, signal: &str) -> Option<i32> {
        let mut supervisor = self.supervisor.take()?;
        if let Some(mut stdin) = supervisor.stdin.take() {
            let _ = writeln!(stdin, "{signal}");
        }
        // The shell reports that a signal ended the program by a status above 128.
        supervisor.wait().ok()?.code().filter(|code| *code < 128)
    }
}

impl Drop for ProductProcess {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A loopback address with a free port.
pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// Opens a file for appending.
pub(crate) fn open_append(path: &Path) -> Result<File> {
    Ok(File::options().create(true).append(true).open(path)?)
}
