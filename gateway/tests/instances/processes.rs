//! The programs as they are deployed: processes that share a data folder, each with its own address.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// The longest that a test waits for anything.
pub(crate) const TEST_TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) const PHONE: &str = "13800138000";
pub(crate) const PASSWORD: &str = "secret-of-the-load";

/// The path of a program of the workspace. Cargo gives the path only for binaries of this package; the other binaries
/// are in the same folder.
fn program_path(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_gateway")).with_file_name(name);
    assert!(path.exists(), "{} is not built; run `cargo build --workspace --bins` first", path.display());
    path
}

/// A loopback address that no other process uses: this process's id is in its bytes.
fn unused_address() -> SocketAddr {
    static PORT: AtomicU16 = AtomicU16::new(20_000);
    let [_, a, b, c] = std::process::id().to_be_bytes();
    (Ipv4Addr::new(127, a.saturating_add(1), b, c), PORT.fetch_add(1, Ordering::Relaxed)).into()
}

/// Sends a GET and reads the complete response; `None` if the connection fails.
pub(crate) fn get(address: SocketAddr, path: &str) -> Option<String> {
    send(address, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
}

/// Sends a request with `Connection: close` and reads the complete response; `None` if the connection fails.
pub(crate) fn send(address: SocketAddr, request: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.write_all(request.as_bytes()).ok()?;
    let mut response = Vec::new();
    stream.read_to_end(&mut response).ok()?;
    Some(String::from_utf8_lossy(&response).into_owned())
}

/// A data folder with one user, in which the programs run.
pub(crate) struct TestDeployment(TempDir);

/// A running program, killed when dropped.
pub(crate) struct RunningProgram {
    child: Child,
    pub(crate) address: SocketAddr,
    log: PathBuf,
}

impl TestDeployment {
    pub(crate) fn new() -> Self {
        let deployment = Self(TempDir::new().unwrap());
        deployment.run_stele(&["migrate"], "");
        deployment.run_stele(&["user", "add", "--username", "load", "--phone", PHONE, "--password-stdin"], PASSWORD);
        deployment
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(program_path(name));
        command.env_clear().env("STELE_DATA", self.0.path().join("data")).env("STELE_HASH_COST", "64,1,1,weak");
        command.env("STELE_ADMIN_LISTEN", "127.0.0.1:0").env("STELE_WORKERS", "2").current_dir(self.0.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    fn run_stele(&self, args: &[&str], input: &str) {
        let mut child = self.command("stele").args(args).stdin(Stdio::piped()).spawn().unwrap();
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        assert!(child.wait().unwrap().success(), "stele {args:?}");
    }

    fn start_program(&self, name: &str, address: SocketAddr, settings: &[(&str, &str)]) -> RunningProgram {
        let log = self.0.path().join(format!("{name}-{address}.log"));
        let mut command = self.command(name);
        command.args(["--listen", &address.to_string()]).envs(settings.iter().copied());
        let child = command.stderr(File::options().create(true).append(true).open(&log).unwrap()).spawn().unwrap();
        RunningProgram { child, address, log }
    }

    /// Starts an instance of the portal and waits until it is ready.
    pub(crate) fn start_portal(&self) -> RunningProgram {
        self.start_portal_at(unused_address())
    }

    /// Starts an instance of the portal at the address of a stopped one, and waits until it is ready.
    pub(crate) fn start_portal_at(&self, address: SocketAddr) -> RunningProgram {
        let mut service =
            self.start_program("svc-portal", address, &[("STELE_LOG", "info,stele_app=debug,stele_dialect=debug")]);
        service.wait_until("readiness", |service| service.readiness_status() == Some(200));
        service
    }

    /// Starts an instance of the JWT service with these settings, and waits until it is ready.
    pub(crate) fn start_jwt(&self, settings: &[(&str, &str)]) -> RunningProgram {
        let mut service = self.start_program("svc-jwt", unused_address(), settings);
        service.wait_until("readiness", |service| service.readiness_status() == Some(200));
        service
    }

    /// Starts a gateway in front of these instances, and waits until it is ready.
    pub(crate) fn start_gateway(&self, services: &[&RunningProgram]) -> RunningProgram {
        self.start_gateway_with(services, &[])
    }

    /// As [`Self::start_gateway`], with further settings.
    pub(crate) fn start_gateway_with(
        &self,
        services: &[&RunningProgram],
        extra_settings: &[(&str, &str)],
    ) -> RunningProgram {
        let urls: Vec<_> = services.iter().map(|service| format!("http://{}", service.address)).collect();
        let urls = urls.join(",");
        let settings =
            ["CLOUDBOX", "TMS", "PORTAL", "MEFP", "JWT", "OAUTH"].map(|name| format!("STELE_UPSTREAM_{name}"));
        let settings: Vec<_> = settings.iter().map(|name| (name.as_str(), urls.as_str())).collect();
        let mut gateway = self.start_program(
            "gateway",
            unused_address(),
            &[&settings[..], &[("STELE_LOG", "info")], extra_settings].concat(),
        );
        gateway.wait_until("readiness", |gateway| gateway.readiness_status() == Some(200));
        gateway
    }
}

impl RunningProgram {
    /// Waits until `condition` holds; fails after [`TEST_TIMEOUT`], or when the program exits.
    pub(crate) fn wait_until(&mut self, what: &str, mut condition: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + TEST_TIMEOUT;
        while !condition(self) {
            let exit_status = self.child.try_wait().unwrap();
            assert!(exit_status.is_none(), "exited ({exit_status:?}) before {what}: {}", self.log());
            assert!(Instant::now() < deadline, "timed out waiting for {what}: {}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The status of `/readyz`; `None` if the connection fails.
    pub(crate) fn readiness_status(&self) -> Option<u16> {
        get(self.address, "/readyz")?.get(9..12)?.parse().ok()
    }

    /// The metrics page, at the admin address that is in the log.
    pub(crate) fn metrics(&self) -> String {
        let log = self.log();
        let admin_address = log.split("admin_listen=").nth(1).and_then(|rest| rest.split_whitespace().next());
        get(admin_address.unwrap().parse().unwrap(), "/metrics").unwrap()
    }

    /// The peak resident memory, in bytes.
    pub(crate) fn peak_memory(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() * 1024
    }

    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap()).into_owned()
    }

    /// The number of logins in the log. A program that is restarted at the same address appends to the same log.
    pub(crate) fn answered_logins(&self) -> usize {
        self.log().lines().filter(|line| line.contains("answered") && line.contains("/i/login")).count()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits until the program has exited, and so has closed its connections.
    pub(crate) fn wait_for_exit(&mut self) -> ExitStatus {
        self.try_wait_for_exit().unwrap_or_else(|| panic!("timed out waiting for the exit: {}", self.log()))
    }

    fn try_wait_for_exit(&mut self) -> Option<ExitStatus> {
        let deadline = Instant::now() + TEST_TIMEOUT;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        None
    }
}

impl Drop for RunningProgram {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
