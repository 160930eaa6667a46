//! A private MariaDB server for a test: a database from which users are imported.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};

use super::eventually;
use super::process::{ManagedServer, ServerUser, find_program, free_port};

/// A MariaDB server on a free port of loopback that stops when dropped. Its user `root` has no password.
#[derive(Debug)]
pub struct Mariadb {
    port: u16,
    tls: TlsMode,
    server: Mutex<ManagedServer>,
}

/// Which connections a server accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TlsMode {
    Plain,
    Required,
}

impl Mariadb {
    /// Creates a data folder and starts a server on it.
    pub fn start() -> Self {
        // Another process may take the port before the server binds it.
        (0..10).find_map(|_| Self::try_start(free_port(), None)).expect("mariadbd starts")
    }

    /// As [`start`](Self::start), with a certificate and its key in PEM. The server accepts TLS only.
    pub fn start_with_tls(certificate: &str, key: &str) -> Self {
        (0..10).find_map(|_| Self::try_start(free_port(), Some((certificate, key)))).expect("mariadbd starts")
    }

    fn try_start(port: u16, tls: Option<(&str, &str)>) -> Option<Self> {
        let process = ManagedServer::new(ServerUser::unless_root("mysql"), "KILL");
        for (name, pem) in
            tls.into_iter().flat_map(|(certificate, key)| [("server.crt", certificate), ("server.key", key)])
        {
            process.write_file(name, pem);
        }
        let tls = if tls.is_some() { TlsMode::Required } else { TlsMode::Plain };
        let data = format!("--datadir={}", process.path("data").display());
        let mut install = process.command(require_program("mariadb-install-db"));
        install.args(["--no-defaults", &data, "--auth-root-authentication-method=normal", "--skip-test-db"]);
        // A server that starts removes the temporary tables of all others in the same folder.
        let output = install.env("TMPDIR", process.path("")).output().unwrap();
        assert!(output.status.success(), "mariadb-install-db: {}", String::from_utf8_lossy(&output.stderr));
        let server = Self { port, tls, server: Mutex::new(process) };
        server.launch().then_some(server)
    }

    /// Starts the process; returns whether the server accepts connections.
    fn launch(&self) -> bool {
        let mut server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        let path_option = |name: &str, file: &str| format!("--{name}={}", server.path(file).display());
        let tls_args = match self.tls {
            TlsMode::Plain => Vec::new(),
            TlsMode::Required => vec![
                path_option("ssl-cert", "server.crt"),
                path_option("ssl-key", "server.key"),
                "--require-secure-transport=ON".to_owned(),
            ],
        };
        let args = [
            "--no-defaults".to_owned(),
            path_option("datadir", "data"),
            path_option("socket", "socket"),
            path_option("pid-file", "pid"),
            path_option("tmpdir", ""),
            format!("--port={}", self.port),
            "--bind-address=127.0.0.1".to_owned(),
            // For tests a commit need not reach the disk.
            "--innodb-flush-log-at-trx-commit=0".to_owned(),
            "--innodb-buffer-pool-size=64M".to_owned(),
        ];
        let args: Vec<_> = args.into_iter().chain(tls_args).collect();
        // The log of an earlier start stays.
        let times_ready = |server: &ManagedServer| server.log().matches("ready for connections").count();
        let before = times_ready(&server);
        server.start(&require_program("mariadbd"), &args);
        let is_ready = || times_ready(&server) > before;
        eventually(|| is_ready() || server.port_was_taken()) && is_ready()
    }

    /// Starts the server again on the same port with the same data.
    pub fn restart(&self) {
        self.kill();
        assert!(self.launch(), "mariadbd does not restart");
    }

    /// Kills the server (SIGKILL).
    pub fn kill(&self) {
        self.server.lock().unwrap_or_else(PoisonError::into_inner).stop_with("KILL");
    }

    /// The URL of the database `mysql` or another one, for the user `root`.
    pub fn url(&self, database: &str) -> String {
        format!("mysql://root@127.0.0.1:{}/{database}", self.port)
    }

    /// The port, on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Executes SQL statements.
    pub fn execute(&self, sql: &str) {
        let port = format!("--port={}", self.port);
        let mut client = std::process::Command::new(require_program("mariadb"));
        client.args(["--no-defaults", "--host=127.0.0.1", &port, "--user=root", "--default-character-set=utf8mb4"]);
        if self.tls == TlsMode::Required {
            client.arg("--ssl");
        }
        let mut client = client.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        client.stdin.take().unwrap().write_all(sql.as_bytes()).unwrap();
        let output = client.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

fn require_program(name: &str) -> PathBuf {
    let found = find_program(name, &["/usr/sbin".into(), "/usr/bin".into()]);
    found.unwrap_or_else(|| panic!("{name}: install Debian's package mariadb-server"))
}
