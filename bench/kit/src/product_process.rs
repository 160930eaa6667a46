//! A program of the product while it runs.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::{BenchError, Result};

/// How long a program may take to be ready, or to end.
const STARTUP_TIMEOUT: Duration = Duration::from_secs(60);

/// Starts the program, tells its id, and ends it when told how, or when whoever started it is gone, however it went.
const SUPERVISOR_SCRIPT: &str = r#"
    log=$1; shift
    "$@" </dev/null >>"$log" 2>&1 & program=$!
    echo "$program"
    read -r how || how=TERM
    kill -s "$how" "$program"; wait "$program""#;

/// A program that runs until it is stopped or dropped.
#[derive(Debug)]
pub struct ProductProcess {
    name: String,
    supervisor: Option<Child>,
    process_id: u32,
    address: SocketAddr,
    admin: SocketAddr,
    log: PathBuf,
}

/// What a process has used so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Processor time, of all its threads.
    pub cpu: Duration,
    /// Memory that is in RAM now, in bytes.
    pub resident_bytes: u64,
    /// The most that ever was, in bytes.
    pub peak_resident_bytes: u64,
}

impl ProductProcess {
    /// Starts `command`, which serves at `address` and, for those who run it, at `admin`, and waits until it says that
    /// it is ready.
    pub(crate) fn start(
        name: &str,
        command: &Command,
        (address, admin): (SocketAddr, SocketAddr),
        log: PathBuf,
    ) -> Result<Self> {
        let mut nurse = Command::new("sh");
        nurse.args(["-c", SUPERVISOR_SCRIPT, "sh"]).arg(&log).arg(command.get_program()).args(command.get_args());
        for (variable, value) in command.get_envs() {
            match value {
                Some(value) => nurse.env(variable, value),
                None => nurse.env_remove(variable),
            };
        }
        if let Some(folder) = command.get_current_dir() {
            nurse.current_dir(folder);
        }
        let mut nurse = nurse.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let mut id = String::new();
        if let Some(pipe) = nurse.stdout.take() {
            BufReader::new(pipe).read_line(&mut id)?;
        }
        let id = id.trim().parse().map_err(|_| BenchError::new(format!("{name} cannot be started")))?;
        let process = Self { name: name.to_owned(), supervisor: Some(nurse), process_id: id, address, admin, log };
        process.wait_until_ready()?;
        Ok(process)
    }

    fn wait_until_ready(&self) -> Result<()> {
        let deadline = Instant::now() + STARTUP_TIMEOUT;
        while self.readiness_status() != Some(200) {
            if !self.is_running() || Instant::now() > deadline {
                return Err(BenchError::new(format!("{} does not come up: {}", self.name, self.log())));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// The status of its readiness page.
    fn readiness_status(&self) -> Option<u16> {
        let mut stream = TcpStream::connect(self.address).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
        let mut output = String::new();
        stream.read_to_string(&mut output).ok()?;
        output.get(9..12)?.parse().ok()
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it serves.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where its metrics are.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Its process id.
    pub fn process_id(&self) -> u32 {
        self.process_id
    }

    /// What it printed and logged.
    pub fn log(&self) -> String {
        std::fs::read(&self.log).map(|log| String::from_utf8_lossy(&log).into_owned()).unwrap_or_default()
    }

    /// The file that it logs to.
    pub fn log_file(&self) -> &Path {
        &self.log
    }

    /// Whether it has not ended.
    pub fn is_running(&self) -> bool {
        // One that ended and was not waited for yet is a zombie.
        let status = std::fs::read_to_string(format!("/proc/{}/stat", self.process_id)).unwrap_or_default();
        let state = status.rsplit_once(')').map(|(_, rest)| rest.trim_start());
        self.supervisor.is_some() && state.is_some_and(|state| !state.starts_with('Z'))
    }

    /// What it has used so far; nothing if it has ended.
    pub fn usage(&self) -> Usage {
        Usage::of(self.process_id)
    }
}

impl Usage {
    /// What the process with this id has used so far; nothing if it has ended.
    pub fn of(id: u32) -> Self {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        let fields: Vec<u64> = stat
            .rsplit_once(')')
            .map(|(_, rest)| rest.split_whitespace().skip(1).map(|field| field.parse().unwrap_or_default()).collect())
            .unwrap_or_default();
        // utime and stime: the 14th and 15th of proc(5)'s fields, of which three are gone here.
        let ticks = fields.get(10..12).map_or(0, |times| times.iter().sum());
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        let kibibytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).unwrap_or_default()
        };
        let second = rustix::param::clock_ticks_per_second().max(1);
        Self {
            cpu: Duration::from_micros(ticks * 1_000_000 / second),
            resident_bytes: kibibytes("VmRSS") * 1024,
            peak_resident_bytes: kibibytes("VmHWM") * 1024,
        }
    }
}

impl ProductProcess {
    /// Ends it as a service manager does, and waits for it. Gives its code; `None` if a signal ended it.
    pub fn stop(&mut self) -> Option<i32> {
        self.stop_with("TERM")
    }

    /// Kills it.
    pub fn kill(&mut self) {
        self.stop_with("KILL");
    }

    fn stop_with(&mut self, how: &str) -> Option<i32> {
        let mut nurse = self.supervisor.take()?;
        if let Some(mut stdin) = nurse.stdin.take() {
            let _ = writeln!(stdin, "{how}");
        }
        // A shell tells of a signal by a code above 128.
        nurse.wait().ok()?.code().filter(|code| *code < 128)
    }
}

impl Drop for ProductProcess {
    fn drop(&mut self) {
        self.stop();
    }
}

/// An address of loopback that nobody has now.
pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// A file to append to.
pub(crate) fn open_append(path: &Path) -> Result<File> {
    Ok(File::options().create(true).append(true).open(path)?)
}
