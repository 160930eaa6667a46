//! A private Redis server for a test: standalone, cluster, replica or sentinel.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::Mutex;
use std::time::Duration;

use super::eventually;
use super::process::{ManagedServer, find_program, free_port, pause_all, resume_all};

/// The role of a Redis server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedisMode {
    /// A single server.
    Standalone,
    /// A cluster of one node. As in every cluster, a script may only use keys of one slot.
    Cluster,
    /// A node without slots, from which [`crate::RedisCluster`] makes a cluster. It fails over after 2 s.
    ClusterNode,
    /// A replica of the server on this port.
    Replica(u16),
    /// A sentinel that monitors the server on this port under the name `main`.
    Sentinel(u16),
}

/// A Redis server on a free port of loopback that stops when dropped.
#[derive(Debug)]
pub struct Redis {
    mode: RedisMode,
    port: u16,
    /// The port of the cluster bus. A node retains it across restarts, because the other nodes remember it.
    bus_port: u16,
    server: Mutex<ManagedServer>,
}

impl Redis {
    /// Starts a standalone server.
    pub fn start() -> Self {
        Self::start_mode(RedisMode::Standalone)
    }

    /// Starts a server in this mode.
    pub fn start_mode(mode: RedisMode) -> Self {
        // Another process may take the port before the server binds it.
        (0..10).find_map(|_| Self::try_start(mode, free_port())).expect("redis-server starts")
    }

    fn try_start(mode: RedisMode, port: u16) -> Option<Self> {
        let server = Self { mode, port, bus_port: free_port(), server: Mutex::new(ManagedServer::new(None, "TERM")) };
        server.launch().then_some(server)
    }

    /// Stops the server if it runs, and starts it again on the same port with the data that it saved.
    pub fn restart(&self) {
        assert!(self.launch(), "redis-server does not restart: {}", self.server_guard().log());
    }

    fn server_guard(&self) -> std::sync::MutexGuard<'_, ManagedServer> {
        self.server.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Starts the process; returns whether the server is ready in its role. `false` if another process took the port.
    fn launch(&self) -> bool {
        let dir = {
            let mut process = self.server_guard();
            let server =
                find_program("redis-server", &[]).expect("redis-server: install Debian's package redis-server");
            let args = self.args(&process);
            process.start(&server, &args);
            process.path("").to_str().unwrap().trim_end_matches('/').to_owned()
        };
        // Another process may respond on this port, so the server is identified by its folder.
        let is_up = || match self.mode {
            RedisMode::Sentinel(_) => self.command("SENTINEL masters").contains("main"),
            _ => self.command("CONFIG GET dir").contains(&dir),
        };
        if !eventually(|| is_up() || self.server_guard().port_was_taken()) || !is_up() {
            return false;
        }
        match self.mode {
            RedisMode::Standalone | RedisMode::ClusterNode | RedisMode::Sentinel(_) => true,
            RedisMode::Replica(_) => eventually(|| self.command("INFO replication").contains("master_link_status:up")),
            RedisMode::Cluster => {
                // After a restart the slots are assigned already, which Redis reports as busy.
                let assign_slots = || self.command("CLUSTER ADDSLOTSRANGE 0 16383");
                eventually(|| ["OK", "busy"].iter().any(|reply| assign_slots().contains(reply)))
                    && eventually(|| self.command("CLUSTER INFO").contains("cluster_state:ok"))
            }
        }
    }

    fn args(&self, process: &ManagedServer) -> Vec<String> {
        let (port, dir) = (self.port.to_string(), process.path(""));
        let mut args: Vec<String> =
            ["--bind", "127.0.0.1", "--dir", dir.to_str().unwrap(), "--port", &port].map(str::to_owned).into();
        let mut add_args = |extra: &[&str]| args.extend(extra.iter().map(|arg| (*arg).to_owned()));
        match self.mode {
            RedisMode::Standalone => add_args(&["--save", "", "--repl-diskless-sync-delay", "0"]),
            RedisMode::Cluster | RedisMode::ClusterNode => {
                let bus = self.bus_port.to_string();
                add_args(&["--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1", "--cluster-port", &bus]);
                if self.mode == RedisMode::ClusterNode {
                    add_args(&["--save", "", "--repl-diskless-sync-delay", "0"]);
                    add_args(&["--cluster-node-timeout", "2000", "--cluster-replica-validity-factor", "0"]);
                }
            }
            RedisMode::Replica(master) => add_args(&["--replicaof", "127.0.0.1", &master.to_string()]),
            RedisMode::Sentinel(master) => {
                let config = format!(
                    "sentinel monitor main 127.0.0.1 {master} 1\nsentinel down-after-milliseconds main 500\n\
                     sentinel failover-timeout main 2000\n"
                );
                process.write_file("sentinel.conf", &config);
                add_args(&["--sentinel"]);
                args.insert(0, process.path("sentinel.conf").to_str().unwrap().to_owned());
            }
        }
        args
    }

    /// Stops the server (SIGTERM).
    pub fn stop(&self) {
        self.server_guard().stop_with("TERM");
    }

    /// Kills the server (SIGKILL).
    pub fn kill(&self) {
        self.server_guard().stop_with("KILL");
    }

    /// Pauses the server (SIGSTOP): the kernel still accepts connections, nothing is answered.
    pub fn pause(&self) {
        pause_all(self.server_guard().process_id().as_slice());
    }

    /// Resumes the paused server (SIGCONT).
    pub fn resume(&self) {
        resume_all(self.server_guard().process_id().as_slice());
    }

    /// The server's port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The port of a cluster node's bus.
    pub(super) fn bus_port(&self) -> u16 {
        self.bus_port
    }

    /// The server's URL in the form of `STELE_REDIS_URL`.
    pub fn url(&self) -> String {
        let port = self.port;
        match self.mode {
            RedisMode::Standalone | RedisMode::Replica(_) => format!("redis://127.0.0.1:{port}"),
            RedisMode::Cluster | RedisMode::ClusterNode => format!("redis+cluster://127.0.0.1:{port}"),
            RedisMode::Sentinel(_) => format!("redis+sentinel://127.0.0.1:{port}/main"),
        }
    }

    /// The raw reply to an inline command (without quotes); empty if there is none within 2 s.
    pub fn command(&self, command: &str) -> String {
        self.send_command(command).unwrap_or_default()
    }

    fn send_command(&self, command: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.write_all(format!("{command}\r\n").as_bytes())?;
        // The server still answers the command before it sees the end of the stream.
        stream.shutdown(Shutdown::Write)?;
        let mut reply = String::new();
        BufReader::new(stream).read_to_string(&mut reply)?;
        Ok(reply)
    }

    /// The keys whose name contains `part`, each with its remaining time to live in milliseconds; -1 if it never
    /// expires.
    pub fn key_ttls(&self, part: &str) -> Vec<(String, i64)> {
        let keys = self.command(&format!("KEYS *{part}*"));
        let keys = keys.as_bytes().lines().map(Result::unwrap).filter(|line| line.contains(part));
        let ttl = |key: &str| self.command(&format!("PTTL {key}")).lines().next().unwrap()[1..].parse().unwrap();
        keys.map(|key| (key.clone(), ttl(&key))).collect()
    }
}
