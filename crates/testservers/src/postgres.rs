//! A PostgreSQL server of a test's own.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use stele_core::random::{OsRandom, Random as _};

use super::process::{ManagedServer, ServerUser, free_port, set_paused};
use super::{eventually, query_separator};

/// A PostgreSQL server on a free port of loopback, which ends with the value. It believes everybody, and forgets what
/// it was told when the power goes, unless its files say otherwise (see [`Postgres::write_file`]).
#[derive(Debug)]
pub struct Postgres {
    port: u16,
    server: Mutex<ManagedServer>,
}

impl Postgres {
    /// Makes a cluster and starts a server on it.
    pub fn start() -> Self {
        // Somebody may take the port before the server does.
        (0..10).find_map(|_| Self::try_start(free_port())).expect("postgres starts")
    }

    fn try_start(port: u16) -> Option<Self> {
        // QUIT ends it at once, and so that nothing is left of it in the system.
        let home = ManagedServer::new(ServerUser::unless_root("postgres"), "QUIT");
        let data = home.path("data");
        let mut initdb = home.command(require_program("initdb"));
        initdb.arg("--pgdata").arg(&data).args(["--username", "stele", "--auth", "trust", "--encoding", "UTF8"]);
        let made = initdb.args(["--no-locale", "--no-sync"]).output().unwrap();
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        home.write_file(
            "data/postgresql.auto.conf",
            "fsync = off\nsynchronous_commit = off\nfull_page_writes = off\nmax_connections = 200\n",
        );
        let server = Self { port, server: Mutex::new(home) };
        server.launch().then_some(server)
    }

    fn server_guard(&self) -> MutexGuard<'_, ManagedServer> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives whether it is up.
    fn launch(&self) -> bool {
        let mut home = self.server_guard();
        let data = home.path("data");
        let port = self.port.to_string();
        let args = ["-D", data.to_str().unwrap(), "-p", &port, "-c", "listen_addresses=127.0.0.1"];
        let args: Vec<_> = args.into_iter().chain(["-c", "unix_socket_directories="]).map(str::to_owned).collect();
        home.start(&require_program("postgres"), &args);
        let id = home.process_id();
        // Which it tells itself, in the last line of this file.
        let up = || postmaster_status(&data).is_some_and(|(of, ready)| Some(of) == id && ready);
        eventually(|| up() || home.port_was_taken()) && up()
    }

    /// Starts it again, stopped or not, on its port and with its data.
    pub fn restart(&self) {
        self.stop();
        assert!(self.launch(), "postgres starts again: {}", self.server_guard().log());
    }

    /// Ends it in good order, without waiting for its clients.
    pub fn stop(&self) {
        self.server_guard().stop_with("INT");
    }

    /// Kills it, with all its processes.
    pub fn kill(&self) {
        let mut home = self.server_guard();
        let children = home.process_id().map(child_processes).unwrap_or_default();
        home.stop_with("KILL");
        for child in &children {
            // They end by themselves, too, when they notice.
            let _ = kill_process(*child, Signal::KILL);
        }
        assert!(eventually(|| children.iter().all(|child| test_kill_process(*child).is_err())));
    }

    /// Has it stand still: whoever is connected is not answered, nor is who connects.
    pub fn pause(&self) {
        let home = self.server_guard();
        let Some(id) = home.process_id() else { return };
        // The one who would start more comes first.
        set_paused(&[id], true);
        set_paused(&child_processes(id), true);
    }

    /// Has it go on.
    pub fn resume(&self) {
        let home = self.server_guard();
        let Some(id) = home.process_id() else { return };
        set_paused(&child_processes(id), false);
        set_paused(&[id], false);
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL of a new, empty database on it.
    pub fn new_database_url(&self) -> String {
        with_fresh_schema(&self.default_database_url())
    }

    /// The URL of the database that is always there.
    pub fn default_database_url(&self) -> String {
        format!("postgres://stele@127.0.0.1:{}/postgres", self.port)
    }

    /// Has a statement executed.
    pub fn execute(&self, sql: &str) {
        execute(&self.default_database_url(), sql);
    }

    /// Writes a file of its cluster (`postgresql.auto.conf`, `pg_hba.conf`, `server.crt`, …), for the next start.
    pub fn write_file(&self, name: &str, content: &str) {
        self.server_guard().write_file(&format!("data/{name}"), content);
    }

    /// What it logged.
    pub fn log(&self) -> String {
        self.server_guard().log()
    }
}

/// The URL of what is a database of a test's own to whoever uses it: a schema, which is made a hundred times as fast.
/// It is left there: the server is for tests.
pub(super) fn with_fresh_schema(url: &str) -> String {
    let schema = format!("stele_test_{}", OsRandom.hex128());
    execute(url, &format!("CREATE SCHEMA {schema}"));
    format!("{url}{}options=-c%20search_path%3D{schema}", query_separator(url))
}

/// Has a statement executed in the database at `url`, whether or not the caller is on a runtime.
pub fn execute(url: &str, sql: &str) {
    let work = async || {
        let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await?;
        let executed = async {
            let result = client.batch_execute(sql).await;
            drop(client);
            result
        };
        tokio::join!(executed, connection).0
    };
    let thread = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work());
    let executed: Result<(), tokio_postgres::Error> = std::thread::scope(|scope| scope.spawn(thread).join().unwrap());
    executed.unwrap_or_else(|error| panic!("the PostgreSQL of the tests: {sql}: {error:?}"));
}

/// A program of PostgreSQL.
fn require_program(name: &str) -> PathBuf {
    find_program(name).unwrap_or_else(|| panic!("{name}: install Debian's package postgresql"))
}

/// A program of PostgreSQL: in `PATH`, or the newest where Debian puts them.
pub(super) fn find_program(name: &str) -> Option<PathBuf> {
    let root = Path::new("/usr/lib/postgresql");
    let mut versions: Vec<u32> = std::fs::read_dir(root)
        .map(|entries| entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect())
        .unwrap_or_default();
    versions.sort_unstable_by(|a, b| b.cmp(a));
    let folders: Vec<_> = versions.iter().map(|version| root.join(version.to_string()).join("bin")).collect();
    super::process::find_program(name, &folders)
}

/// The process that serves a cluster, and whether it takes connections.
fn postmaster_status(data: &Path) -> Option<(Pid, bool)> {
    let text = std::fs::read_to_string(data.join("postmaster.pid")).ok()?;
    let mut lines = text.lines();
    let id = Pid::from_raw(lines.next()?.trim().parse().ok()?)?;
    Some((id, lines.next_back().is_some_and(|line| line.trim() == "ready")))
}

/// The processes that this one started.
fn child_processes(id: Pid) -> Vec<Pid> {
    let id = id.as_raw_nonzero();
    let text = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|id| Pid::from_raw(id.parse().ok()?)).collect()
}
