//! A private PostgreSQL server for a test (start, stop, kill, pause, restart), its standby (start, promote), and fresh
//! schemas on a shared server.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use stele_core::random::{OsRandom, Random as _};
use tokio_postgres::SimpleQueryMessage;

use super::process::{ManagedServer, ServerUser, free_port, pause_all, resume_all};
use super::{eventually, query_separator};

/// A PostgreSQL server on a free port of loopback that stops when dropped. By default it authenticates no client
/// (`trust`) and does not sync to disk; [`Postgres::write_file`] can change both.
#[derive(Debug)]
pub struct Postgres {
    port: u16,
    server: Mutex<ManagedServer>,
}

impl Postgres {
    /// Creates a database cluster and starts a server on it.
    pub fn start() -> Self {
        // Another process may take the port before the server binds it.
        (0..10).find_map(|_| Self::try_start(free_port())).expect("postgres starts")
    }

    /// Starts a hot standby of this server, which streams its changes.
    pub fn start_standby(&self) -> Self {
        (0..10).find_map(|_| self.try_start_standby(free_port())).expect("the standby starts")
    }

    /// Promotes this standby to a primary, and returns when it accepts writes.
    pub fn promote(&self) {
        self.execute("DO $$ BEGIN ASSERT pg_promote(true, 30), 'not promoted'; END $$");
    }

    fn try_start(port: u16) -> Option<Self> {
        let process = new_process();
        let data = process.path("data");
        let mut initdb = process.command(require_program("initdb"));
        initdb.arg("--pgdata").arg(&data).args(["--username", "stele", "--auth", "trust", "--encoding", "UTF8"]);
        let output = initdb.args(["--no-locale", "--no-sync"]).output().unwrap();
        assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
        process.write_file(
            "data/postgresql.auto.conf",
            "fsync = off\nsynchronous_commit = off\nfull_page_writes = off\nmax_connections = 200\n",
        );
        let server = Self { port, server: Mutex::new(process) };
        server.launch().then_some(server)
    }

    fn try_start_standby(&self, port: u16) -> Option<Self> {
        let process = new_process();
        let mut backup = process.command(require_program("pg_basebackup"));
        backup.arg("--pgdata").arg(process.path("data")).args(["--host", "127.0.0.1", "--username", "stele"]);
        backup.args(["--port", &self.port.to_string(), "--checkpoint", "fast", "--write-recovery-conf", "--no-sync"]);
        let output = backup.output().unwrap();
        assert!(output.status.success(), "pg_basebackup: {}", String::from_utf8_lossy(&output.stderr));
        let server = Self { port, server: Mutex::new(process) };
        server.launch().then_some(server)
    }

    fn server_guard(&self) -> MutexGuard<'_, ManagedServer> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the process; returns whether the server accepts connections.
    fn launch(&self) -> bool {
        let mut server = self.server_guard();
        let data = server.path("data");
        let port = self.port.to_string();
        let args = ["-D", data.to_str().unwrap(), "-p", &port, "-c", "listen_addresses=127.0.0.1"];
        let args: Vec<_> = args.into_iter().chain(["-c", "unix_socket_directories="]).map(str::to_owned).collect();
        server.start(&require_program("postgres"), &args);
        let id = server.process_id();
        let is_ready = || postmaster_status(&data).is_some_and(|status| Some(status.id) == id && status.is_ready);
        eventually(|| is_ready() || server.port_was_taken()) && is_ready()
    }

    /// Stops the server if it runs, and starts it again on the same port with the same data.
    pub fn restart(&self) {
        self.stop();
        assert!(self.launch(), "postgres does not restart: {}", self.server_guard().log());
    }

    /// Stops the server without waiting for clients to disconnect (fast shutdown, SIGINT).
    pub fn stop(&self) {
        self.server_guard().stop_with("INT");
    }

    /// Kills the server and all of the server's processes (SIGKILL).
    pub fn kill(&self) {
        let mut server = self.server_guard();
        let children = server.process_id().map(child_processes).unwrap_or_default();
        server.stop_with("KILL");
        for child in &children {
            // Without their parent, the child processes would also end, but later.
            let _ = kill_process(*child, Signal::KILL);
        }
        assert!(eventually(|| children.iter().all(|child| test_kill_process(*child).is_err())));
    }

    /// Pauses the server (SIGSTOP): neither connected nor new clients get a response.
    pub fn pause(&self) {
        let server = self.server_guard();
        let Some(id) = server.process_id() else { return };
        // The parent is paused first, because it could start further child processes.
        pause_all(&[id]);
        pause_all(&child_processes(id));
    }

    /// Resumes the paused server (SIGCONT).
    pub fn resume(&self) {
        let server = self.server_guard();
        let Some(id) = server.process_id() else { return };
        resume_all(&child_processes(id));
        resume_all(&[id]);
    }

    /// The server's port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL of a new, empty database on this server.
    pub fn new_database_url(&self) -> String {
        with_fresh_schema(&self.default_database_url())
    }

    /// The URL of a new, empty database without startup options, which connection poolers reject.
    pub fn create_database(&self) -> String {
        let name = format!("stele_test_{}", OsRandom.hex128());
        self.execute(&format!("CREATE DATABASE {name}"));
        format!("postgres://stele@127.0.0.1:{}/{name}", self.port)
    }

    /// The URL of the database `postgres`, which every server has.
    pub fn default_database_url(&self) -> String {
        format!("postgres://stele@127.0.0.1:{}/postgres", self.port)
    }

    /// Executes SQL statements in the database `postgres`.
    pub fn execute(&self, sql: &str) {
        execute(&self.default_database_url(), sql);
    }

    /// Writes a file of the cluster (`postgresql.auto.conf`, `pg_hba.conf`, `server.crt`, …), read at the next start.
    pub fn write_file(&self, name: &str, content: &str) {
        self.server_guard().write_file(&format!("data/{name}"), content);
    }

    /// The server's log so far.
    pub fn log(&self) -> String {
        self.server_guard().log()
    }
}

/// The folder and user of a server that is not started. SIGQUIT stops it immediately, and it still releases its shared
/// memory.
fn new_process() -> ManagedServer {
    ManagedServer::new(ServerUser::unless_root("postgres"), "QUIT")
}

/// The URL of a fresh schema in the database at `url`. A client sees the schema as an empty database; creating a schema
/// is a hundred times faster than creating a database. The schema is not removed: the server is for tests only.
pub(super) fn with_fresh_schema(url: &str) -> String {
    let schema = format!("stele_test_{}", OsRandom.hex128());
    execute(url, &format!("CREATE SCHEMA {schema}"));
    format!("{url}{}options=-c%20search_path%3D{schema}", query_separator(url))
}

/// Executes SQL statements in the database at `url`. Works inside and outside of an async runtime.
pub fn execute(url: &str, sql: &str) {
    run_sql(url, sql);
}

/// The first column of the first row of a query of the database at `url`, as text.
pub fn query_text(url: &str, sql: &str) -> Option<String> {
    run_sql(url, sql).iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    })
}

fn run_sql(url: &str, sql: &str) -> Vec<SimpleQueryMessage> {
    let query = async || {
        let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await?;
        let messages = async {
            let messages = client.simple_query(sql).await;
            drop(client);
            messages
        };
        tokio::join!(messages, connection).0
    };
    let thread = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(query());
    let messages: Result<_, tokio_postgres::Error> = std::thread::scope(|scope| scope.spawn(thread).join().unwrap());
    messages.unwrap_or_else(|error| panic!("the test's PostgreSQL: {sql}: {error:?}"))
}

/// The path of a PostgreSQL program; panics if it is not installed.
fn require_program(name: &str) -> PathBuf {
    find_program(name).unwrap_or_else(|| panic!("{name}: install Debian's package postgresql"))
}

/// The path of a PostgreSQL program: in `PATH`, or the newest version in Debian's folder.
pub(super) fn find_program(name: &str) -> Option<PathBuf> {
    let root = Path::new("/usr/lib/postgresql");
    let mut versions: Vec<u32> = std::fs::read_dir(root)
        .map(|entries| entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect())
        .unwrap_or_default();
    versions.sort_unstable_by(|a, b| b.cmp(a));
    let folders: Vec<_> = versions.iter().map(|version| root.join(version.to_string()).join("bin")).collect();
    super::process::find_program(name, &folders)
}

/// The state of a server as its `postmaster.pid` reports it.
struct PostmasterStatus {
    id: Pid,
    /// Whether the server accepts connections.
    is_ready: bool,
}

/// Reads `postmaster.pid`: the first line is the process id, the last one the status.
fn postmaster_status(data: &Path) -> Option<PostmasterStatus> {
    let text = std::fs::read_to_string(data.join("postmaster.pid")).ok()?;
    let mut lines = text.lines();
    let id = Pid::from_raw(lines.next()?.trim().parse().ok()?)?;
    Some(PostmasterStatus { id, is_ready: lines.next_back().is_some_and(|line| line.trim() == "ready") })
}

/// The direct children of a process.
fn child_processes(id: Pid) -> Vec<Pid> {
    let id = id.as_raw_nonzero();
    let text = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|id| Pid::from_raw(id.parse().ok()?)).collect()
}
