//! A private PgBouncer, a connection pooler in front of a PostgreSQL server.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::process::{ManagedServer, ServerUser, find_program, free_port, pause_all, resume_all};
use super::{Postgres, eventually};

/// PgBouncer on a free port of loopback that stops when dropped. It authenticates no client.
#[derive(Debug)]
pub struct Pgbouncer {
    port: u16,
    server_port: u16,
    process: Mutex<ManagedServer>,
}

impl Pgbouncer {
    /// Starts a pooler for all databases of `server`. `settings` are further ones of the section `[pgbouncer]`, such as
    /// `("pool_mode", "transaction")`; the default is `pool_mode = session`.
    pub fn start(server: &Postgres, settings: &[(&str, &str)]) -> Self {
        // Another process may take the port before the pooler binds it.
        (0..10).find_map(|_| Self::try_start(server.port(), free_port(), settings)).expect("pgbouncer starts")
    }

    fn try_start(server_port: u16, port: u16, settings: &[(&str, &str)]) -> Option<Self> {
        // PgBouncer refuses to run as root. SIGTERM stops it immediately.
        let process = ManagedServer::new(ServerUser::unless_root("postgres"), "TERM");
        let mut config = format!(
            "[databases]\n* = host=127.0.0.1 port={server_port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = trust\nauth_file = users\nadmin_users = stele\n"
        );
        for (name, value) in settings {
            config.push_str(&format!("{name} = {value}\n"));
        }
        process.write_file("users", "\"stele\" \"\"\n");
        process.write_file("config", &config);
        let pooler = Self { port, server_port, process: Mutex::new(process) };
        pooler.launch().then_some(pooler)
    }

    /// Starts the pooler again on the same port, after it was stopped or has ended.
    pub fn restart(&self) {
        assert!(self.launch(), "pgbouncer does not restart: {}", self.log());
    }

    /// Starts the process; returns whether the pooler accepts connections.
    fn launch(&self) -> bool {
        let mut process = self.process_guard();
        let count_starts = |log: &str| log.matches("process up").count();
        let earlier_starts = count_starts(&process.log());
        process.start(&require_program(), &["config".to_owned()]);
        let is_up = || count_starts(&process.log()) > earlier_starts;
        eventually(|| is_up() || process.port_was_taken()) && !process.port_was_taken() && is_up()
    }

    fn process_guard(&self) -> MutexGuard<'_, ManagedServer> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The pooler's port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL of a database of the server, through the pooler. The pooler rejects URLs with startup options: see
    /// [`Postgres::create_database`].
    pub fn url(&self, database_url: &str) -> String {
        database_url.replacen(&format!(":{}/", self.server_port), &format!(":{}/", self.port), 1)
    }

    /// Stops the pooler and closes all its connections.
    pub fn stop(&self) {
        self.process_guard().stop_with("TERM");
    }

    /// Pauses the pooler (SIGSTOP): neither connected nor new clients get a response.
    pub fn pause(&self) {
        pause_all(self.process_guard().process_id().as_slice());
    }

    /// Resumes the paused pooler (SIGCONT).
    pub fn resume(&self) {
        resume_all(self.process_guard().process_id().as_slice());
    }

    /// The pooler's log so far.
    pub fn log(&self) -> String {
        self.process_guard().log()
    }
}

/// The path of `pgbouncer`, which Debian installs into a folder that is not in every user's `PATH`.
fn require_program() -> PathBuf {
    let path = find_program("pgbouncer", &["/usr/sbin".into()]);
    path.unwrap_or_else(|| panic!("pgbouncer: install Debian's package pgbouncer"))
}
