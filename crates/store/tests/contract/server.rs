//! A Redis server of the tests' own.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Starts the server and stops it when told how, or when whoever started it is gone, however it went.
const NURSE: &str = r#"
    redis-server "$@" & server=$!
    read -r how || how=TERM
    kill -s "$how" "$server"; wait "$server""#;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    One,
    /// A cluster of one node, which takes keys of one slot in a script and no others.
    Cluster,
    /// A replica of the server on this port.
    Replica(u16),
    /// A sentinel that watches over the server on this port and calls it `main`.
    Sentinel(u16),
}

/// A server on a free port, which ends with the value.
pub(crate) struct Server {
    kind: Kind,
    pub(crate) port: u16,
    dir: TempDir,
    nurse: Mutex<Option<Child>>,
}

impl Server {
    /// One that the tests of this process share, for as long as any of them has it.
    pub(crate) fn shared(kind: Kind) -> Arc<Self> {
        static SHARED: Mutex<[Weak<Server>; 2]> = Mutex::new([Weak::new(), Weak::new()]);
        let mut shared = SHARED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let shared = &mut shared[usize::from(kind == Kind::Cluster)];
        shared.upgrade().unwrap_or_else(|| {
            let server = Arc::new(Self::start(kind));
            *shared = Arc::downgrade(&server);
            server
        })
    }

    /// A server for one test alone.
    pub(crate) fn start(kind: Kind) -> Self {
        // Somebody may take the port before the server does.
        (0..10).find_map(|_| Self::try_on(kind, free_port())).expect("redis-server must be installed, and start")
    }

    fn try_on(kind: Kind, port: u16) -> Option<Self> {
        let server = Self { kind, port, dir: tempfile::tempdir().unwrap(), nurse: Mutex::new(None) };
        server.resume().then_some(server)
    }

    /// Starts the server, again. Gives whether it answers, and is this one.
    #[must_use]
    pub(crate) fn resume(&self) -> bool {
        let dir = self.dir.path().to_str().unwrap();
        let port = self.port.to_string();
        let mut args: Vec<String> = ["--bind", "127.0.0.1", "--dir", dir, "--port", &port].map(str::to_owned).into();
        match self.kind {
            Kind::One => args.extend(["--save", "", "--repl-diskless-sync-delay", "0"].map(str::to_owned)),
            Kind::Cluster => {
                let bus = free_port().to_string();
                let cluster =
                    ["--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1", "--cluster-port", &bus];
                args.extend(cluster.map(str::to_owned));
            }
            Kind::Replica(master) => {
                args.extend(["--replicaof", "127.0.0.1", &master.to_string()].map(str::to_owned));
            }
            Kind::Sentinel(master) => {
                let config = self.dir.path().join("sentinel.conf");
                let watch = format!(
                    "sentinel monitor main 127.0.0.1 {master} 1\nsentinel down-after-milliseconds main 500\n\
                     sentinel failover-timeout main 2000\n"
                );
                std::fs::write(&config, watch).unwrap();
                args.insert(0, config.to_str().unwrap().to_owned());
                args.push("--sentinel".to_owned());
            }
        }
        let nurse = Command::new("sh")
            .args(["-c", NURSE, "sh"])
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        *self.nurse.lock().unwrap() = Some(nurse);
        // Whoever answers on this port is this server, or it is not up.
        let answers = match self.kind {
            Kind::Sentinel(_) => eventually(|| self.ask("SENTINEL masters").contains("main")),
            _ => eventually(|| self.ask("CONFIG GET dir").contains(dir)),
        };
        answers
            && match self.kind {
                Kind::One | Kind::Sentinel(_) => true,
                Kind::Replica(_) => eventually(|| self.ask("INFO replication").contains("master_link_status:up")),
                Kind::Cluster => {
                    eventually(|| self.ask("CLUSTER ADDSLOTSRANGE 0 16383").contains("OK"))
                        && eventually(|| self.ask("CLUSTER INFO").contains("cluster_state:ok"))
                }
            }
    }

    /// Ends the server: with `TERM` in good order, with `KILL` not.
    pub(crate) fn stop(&self, signal: &str) {
        if let Some(mut nurse) = self.nurse.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take() {
            if let Some(mut stdin) = nurse.stdin.take() {
                let _ = writeln!(stdin, "{signal}");
            }
            let _ = nurse.wait();
        }
    }

    pub(crate) fn url(&self) -> String {
        let port = self.port;
        match self.kind {
            Kind::One | Kind::Replica(_) => format!("redis://127.0.0.1:{port}"),
            Kind::Cluster => format!("redis+cluster://127.0.0.1:{port}"),
            Kind::Sentinel(_) => format!("redis+sentinel://127.0.0.1:{port}/main"),
        }
    }

    /// The answer to a command without quotes; empty if there is none.
    pub(crate) fn ask(&self, command: &str) -> String {
        self.converse(command).unwrap_or_default()
    }

    fn converse(&self, command: &str) -> std::io::Result<String> {
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
    pub(crate) fn lives(&self, part: &str) -> Vec<(String, i64)> {
        let keys = self.ask(&format!("KEYS *{part}*"));
        let keys = BufRead::lines(keys.as_bytes()).map(Result::unwrap).filter(|line| line.contains(part));
        let life = |key: &str| self.ask(&format!("PTTL {key}")).lines().next().unwrap()[1..].parse().unwrap();
        keys.map(|key| (key.clone(), life(&key))).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop("TERM");
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Asks until it is so, five seconds at most.
pub(crate) fn eventually(done: impl Fn() -> bool) -> bool {
    let started = Instant::now();
    while !done() {
        if started.elapsed() > Duration::from_secs(5) {
            return false;
        }
        std::thread::sleep(Duration::from_millis(3));
    }
    true
}
