//! A Redis server of the tests' own.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
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
        let mut args: Vec<String> =
            ["sh", "--bind", "127.0.0.1", "--save", "", "--dir", dir, "--port"].map(str::to_owned).into();
        args.push(self.port.to_string());
        if self.kind == Kind::Cluster {
            let bus = free_port().to_string();
            args.extend(
                ["--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1", "--cluster-port"].map(str::to_owned),
            );
            args.push(bus);
        }
        let nurse = Command::new("sh")
            .args(["-c", NURSE])
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        *self.nurse.lock().unwrap() = Some(nurse);
        let slots = self.kind == Kind::One || eventually(|| self.ask("CLUSTER ADDSLOTSRANGE 0 16383").contains("OK"));
        eventually(|| self.ask("CONFIG GET dir").contains(dir))
            && slots
            && (self.kind == Kind::One || eventually(|| self.ask("CLUSTER INFO").contains("cluster_state:ok")))
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
        let kind = if self.kind == Kind::Cluster { "+cluster" } else { "" };
        format!("redis{kind}://127.0.0.1:{}", self.port)
    }

    /// The answer to a command without quotes; empty if there is none.
    pub(crate) fn ask(&self, command: &str) -> String {
        self.converse(command).unwrap_or_default()
    }

    fn converse(&self, command: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.write_all(format!("{command}\r\nQUIT\r\n").as_bytes())?;
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

fn eventually(done: impl Fn() -> bool) -> bool {
    let started = Instant::now();
    while !done() {
        if started.elapsed() > Duration::from_secs(5) {
            return false;
        }
        std::thread::sleep(Duration::from_millis(3));
    }
    true
}
