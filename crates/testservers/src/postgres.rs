//! A PostgreSQL server of a test's own.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use stele_core::random::{OsRandom, Random as _};

use super::process::{Home, Owner, free_port, halt, program};
use super::{eventually, joint};

/// A PostgreSQL server on a free port of loopback, which ends with the value. It believes everybody, and forgets what
/// it was told when the power goes, unless its files say otherwise (see [`Postgres::put`]).
#[derive(Debug)]
pub struct Postgres {
    port: u16,
    home: Mutex<Home>,
}

impl Postgres {
    /// Makes a cluster and starts a server on it.
    pub fn start() -> Self {
        // Somebody may take the port before the server does.
        (0..10).find_map(|_| Self::try_on(free_port())).expect("postgres starts")
    }

    fn try_on(port: u16) -> Option<Self> {
        // QUIT ends it at once, and so that nothing is left of it in the system.
        let home = Home::new(Owner::instead_of_root("postgres"), "QUIT");
        let data = home.path("data");
        let mut initdb = home.command(installed("initdb"));
        initdb.arg("--pgdata").arg(&data).args(["--username", "stele", "--auth", "trust", "--encoding", "UTF8"]);
        let made = initdb.args(["--no-locale", "--no-sync"]).output().unwrap();
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        home.put(
            "data/postgresql.auto.conf",
            "fsync = off\nsynchronous_commit = off\nfull_page_writes = off\nmax_connections = 200\n",
        );
        let server = Self { port, home: Mutex::new(home) };
        server.run().then_some(server)
    }

    fn home(&self) -> MutexGuard<'_, Home> {
        self.home.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives whether it is up.
    fn run(&self) -> bool {
        let mut home = self.home();
        let data = home.path("data");
        let port = self.port.to_string();
        let args = ["-D", data.to_str().unwrap(), "-p", &port, "-c", "listen_addresses=127.0.0.1"];
        let args: Vec<_> = args.into_iter().chain(["-c", "unix_socket_directories="]).map(str::to_owned).collect();
        home.run(&installed("postgres"), &args);
        let id = home.id();
        // Which it tells itself, in the last line of this file.
        let up = || status(&data).is_some_and(|(of, ready)| Some(of) == id && ready);
        eventually(|| up() || home.was_too_late()) && up()
    }

    /// Starts it again, stopped or not, on its port and with its data.
    pub fn restart(&self) {
        self.stop();
        assert!(self.run(), "postgres starts again: {}", self.home().log());
    }

    /// Ends it in good order, without waiting for its clients.
    pub fn stop(&self) {
        self.home().signal("INT");
    }

    /// Kills it, with all its processes.
    pub fn kill(&self) {
        let mut home = self.home();
        let children = home.id().map(children).unwrap_or_default();
        home.signal("KILL");
        for child in &children {
            // They end by themselves, too, when they notice.
            let _ = kill_process(*child, Signal::KILL);
        }
        assert!(eventually(|| children.iter().all(|child| test_kill_process(*child).is_err())));
    }

    /// Has it stand still: whoever is connected is not answered, nor is who connects.
    pub fn pause(&self) {
        let home = self.home();
        let Some(id) = home.id() else { return };
        // The one who would start more comes first.
        halt(&[id], true);
        halt(&children(id), true);
    }

    /// Has it go on.
    pub fn resume(&self) {
        let home = self.home();
        let Some(id) = home.id() else { return };
        halt(&children(id), false);
        halt(&[id], false);
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL of a new, empty database on it.
    pub fn url(&self) -> String {
        fresh(&self.base_url())
    }

    /// The URL of the database that is always there.
    pub fn base_url(&self) -> String {
        format!("postgres://stele@127.0.0.1:{}/postgres", self.port)
    }

    /// Has a statement executed.
    pub fn execute(&self, sql: &str) {
        execute(&self.base_url(), sql);
    }

    /// Writes a file of its cluster (`postgresql.auto.conf`, `pg_hba.conf`, `server.crt`, …), for the next start.
    pub fn put(&self, name: &str, content: &str) {
        self.home().put(&format!("data/{name}"), content);
    }

    /// What it logged.
    pub fn log(&self) -> String {
        self.home().log()
    }
}

/// The URL of what is a database of a test's own to whoever uses it: a schema, which is made a hundred times as fast.
/// It is left there: the server is for tests.
pub(super) fn fresh(url: &str) -> String {
    let schema = format!("stele_test_{}", OsRandom.hex128());
    execute(url, &format!("CREATE SCHEMA {schema}"));
    format!("{url}{}options=-c%20search_path%3D{schema}", joint(url))
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
fn installed(name: &str) -> PathBuf {
    find(name).unwrap_or_else(|| panic!("{name}: install Debian's package postgresql"))
}

/// A program of PostgreSQL: in `PATH`, or the newest where Debian puts them.
pub(super) fn find(name: &str) -> Option<PathBuf> {
    let root = Path::new("/usr/lib/postgresql");
    let mut versions: Vec<u32> = std::fs::read_dir(root)
        .map(|entries| entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect())
        .unwrap_or_default();
    versions.sort_unstable_by(|a, b| b.cmp(a));
    let folders: Vec<_> = versions.iter().map(|version| root.join(version.to_string()).join("bin")).collect();
    program(name, &folders)
}

/// The process that serves a cluster, and whether it takes connections.
fn status(data: &Path) -> Option<(Pid, bool)> {
    let text = std::fs::read_to_string(data.join("postmaster.pid")).ok()?;
    let mut lines = text.lines();
    let id = Pid::from_raw(lines.next()?.trim().parse().ok()?)?;
    Some((id, lines.next_back().is_some_and(|line| line.trim() == "ready")))
}

/// The processes that this one started.
fn children(id: Pid) -> Vec<Pid> {
    let id = id.as_raw_nonzero();
    let text = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|id| Pid::from_raw(id.parse().ok()?)).collect()
}
