//! A private HAProxy.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::eventually;
use super::process::{ManagedServer, find_program, free_port};

/// HAProxy as a TCP proxy on a free port of loopback that stops when dropped.
#[derive(Debug)]
pub struct Haproxy {
    port: u16,
    process: Mutex<ManagedServer>,
}

impl Haproxy {
    /// Starts a proxy with these lines of its section `listen`, such as `server primary 127.0.0.1:5432 check`.
    pub fn start(lines: &[String]) -> Self {
        // Another process may take the port before the proxy binds it.
        (0..10).find_map(|_| Self::try_start(free_port(), lines)).expect("haproxy starts")
    }

    fn try_start(port: u16, lines: &[String]) -> Option<Self> {
        let process = ManagedServer::new(None, "TERM");
        let listen = format!("listen proxy\n  mode tcp\n  bind 127.0.0.1:{port}\n  {}\n", lines.join("\n  "));
        let defaults =
            "global\n  maxconn 4000\ndefaults\n  timeout connect 2s\n  timeout client 1h\n  timeout server 1h\n";
        process.write_file("config", &format!("{defaults}{listen}"));
        let proxy = Self { port, process: Mutex::new(process) };
        proxy.launch().then_some(proxy)
    }

    /// Starts the process; returns whether the proxy accepts connections.
    fn launch(&self) -> bool {
        let mut process = self.process_guard();
        process.start(&require_program(), &["-db", "-f", "config"].map(str::to_owned));
        let is_up = || std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok();
        let was_port_taken = || process.log().contains("cannot bind socket");
        eventually(|| is_up() || was_port_taken()) && !was_port_taken() && is_up()
    }

    fn process_guard(&self) -> MutexGuard<'_, ManagedServer> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The proxy's port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The proxy's output so far.
    pub fn log(&self) -> String {
        self.process_guard().log()
    }
}

/// The path of `haproxy`, which Debian installs into a folder that is not in every user's `PATH`.
fn require_program() -> PathBuf {
    let path = find_program("haproxy", &["/usr/sbin".into()]);
    path.unwrap_or_else(|| panic!("haproxy: install Debian's package haproxy"))
}
