//! A Redis server of a test's own.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::Mutex;
use std::time::Duration;

use super::eventually;
use super::process::{ManagedServer, find_program, free_port, set_paused};

/// What a Redis server is to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedisMode {
    /// One server.
    Standalone,
    /// A cluster of one node, which takes keys of one slot in a script and no others.
    Cluster,
    /// A replica of the server on this port.
    Replica(u16),
    /// A sentinel that watches over the server on this port and calls it `main`.
    Sentinel(u16),
}

/// A Redis server on a free port of loopback, which ends with the value.
#[derive(Debug)]
pub struct Redis {
    mode: RedisMode,
    port: u16,
    server: Mutex<ManagedServer>,
}

impl Redis {
    /// Starts a server.
    pub fn start() -> Self {
        Self::start_mode(RedisMode::Standalone)
    }

    /// Starts a server of this kind.
    pub fn start_mode(kind: RedisMode) -> Self {
        // Somebody may take the port before the server does.
        (0..10).find_map(|_| Self::try_start(kind, free_port())).expect("redis-server starts")
    }

    fn try_start(kind: RedisMode, port: u16) -> Option<Self> {
        let server = Self { mode: kind, port, server: Mutex::new(ManagedServer::new(None, "TERM")) };
        server.launch().then_some(server)
    }

    /// Starts it again, stopped or not, on its port and with what it saved.
    pub fn restart(&self) {
        assert!(self.launch(), "redis-server starts again: {}", self.server_guard().log());
    }

    fn server_guard(&self) -> std::sync::MutexGuard<'_, ManagedServer> {
        self.server.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Gives whether it answers, and is this one.
    fn launch(&self) -> bool {
        let dir = {
            let mut home = self.server_guard();
            let server =
                find_program("redis-server", &[]).expect("redis-server: install Debian's package redis-server");
            let args = self.args(&home);
            home.start(&server, &args);
            home.path("").to_str().unwrap().trim_end_matches('/').to_owned()
        };
        // Whoever answers on this port is this server, or it is not up.
        let up = || match self.mode {
            RedisMode::Sentinel(_) => self.command("SENTINEL masters").contains("main"),
            _ => self.command("CONFIG GET dir").contains(&dir),
        };
        if !eventually(|| up() || self.server_guard().port_was_taken()) || !up() {
            return false;
        }
        match self.mode {
            RedisMode::Standalone | RedisMode::Sentinel(_) => true,
            RedisMode::Replica(_) => eventually(|| self.command("INFO replication").contains("master_link_status:up")),
            RedisMode::Cluster => {
                // Started again, it has them.
                let slots = || self.command("CLUSTER ADDSLOTSRANGE 0 16383");
                eventually(|| ["OK", "busy"].iter().any(|has| slots().contains(has)))
                    && eventually(|| self.command("CLUSTER INFO").contains("cluster_state:ok"))
            }
        }
    }

    fn args(&self, home: &ManagedServer) -> Vec<String> {
        let (port, dir) = (self.port.to_string(), home.path(""));
        let mut args: Vec<String> =
            ["--bind", "127.0.0.1", "--dir", dir.to_str().unwrap(), "--port", &port].map(str::to_owned).into();
        let mut also = |more: &[&str]| args.extend(more.iter().map(|arg| (*arg).to_owned()));
        match self.mode {
            RedisMode::Standalone => also(&["--save", "", "--repl-diskless-sync-delay", "0"]),
            RedisMode::Cluster => {
                let bus = free_port().to_string();
                also(&["--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1", "--cluster-port", &bus]);
            }
            RedisMode::Replica(master) => also(&["--replicaof", "127.0.0.1", &master.to_string()]),
            RedisMode::Sentinel(master) => {
                let watch = format!(
                    "sentinel monitor main 127.0.0.1 {master} 1\nsentinel down-after-milliseconds main 500\n\
                     sentinel failover-timeout main 2000\n"
                );
                home.write_file("sentinel.conf", &watch);
                also(&["--sentinel"]);
                args.insert(0, home.path("sentinel.conf").to_str().unwrap().to_owned());
            }
        }
        args
    }

    /// Ends it in good order.
    pub fn stop(&self) {
        self.server_guard().stop_with("TERM");
    }

    /// Kills it.
    pub fn kill(&self) {
        self.server_guard().stop_with("KILL");
    }

    /// Has it stand still: it takes connections and answers nothing.
    pub fn pause(&self) {
        set_paused(self.server_guard().process_id().as_slice(), true);
    }

    /// Has it go on.
    pub fn resume(&self) {
        set_paused(self.server_guard().process_id().as_slice(), false);
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its URL.
    pub fn url(&self) -> String {
        let port = self.port;
        match self.mode {
            RedisMode::Standalone | RedisMode::Replica(_) => format!("redis://127.0.0.1:{port}"),
            RedisMode::Cluster => format!("redis+cluster://127.0.0.1:{port}"),
            RedisMode::Sentinel(_) => format!("redis+sentinel://127.0.0.1:{port}/main"),
        }
    }

    /// The answer to a command without quotes; empty if there is none.
    pub fn command(&self, command: &str) -> String {
        self.send_command(command).unwrap_or_default()
    }

    fn send_command(&self, command: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.write_all(format!("{command}\r\n").as_bytes())?;
        // The server answers what it has read before it notices.
        stream.shutdown(Shutdown::Write)?;
        let mut answer = String::new();
        BufReader::new(stream).read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// How long each key that holds `part` will be kept, in milliseconds; -1 for ever.
    pub fn key_ttls(&self, part: &str) -> Vec<(String, i64)> {
        let keys = self.command(&format!("KEYS *{part}*"));
        let keys = keys.as_bytes().lines().map(Result::unwrap).filter(|line| line.contains(part));
        let life = |key: &str| self.command(&format!("PTTL {key}")).lines().next().unwrap()[1..].parse().unwrap();
        keys.map(|key| (key.clone(), life(&key))).collect()
    }
}
