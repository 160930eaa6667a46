//! A server's process, and a nurse who sees it off.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Starts the server, tells its id, and ends it when told how, or when whoever started it is gone, however it went:
/// then its folder, too, is nobody's.
const SUPERVISOR_SCRIPT: &str = r#"
    end=$1 folder=$2; shift 2
    "$@" </dev/null >>"$folder/log" 2>&1 & server=$!
    echo "$server"
    read -r how || { how=$end; orphan=1; }
    kill -s "$how" "$server"; kill -s CONT "$server"; wait "$server"
    [ -z "$orphan" ] || rm -rf "$folder""#;

/// Whom a server runs as, if not as the test.
#[derive(Clone, Copy, Debug)]
pub(super) struct ServerUser {
    uid: u32,
    gid: u32,
}

impl ServerUser {
    /// The user of this name if the test runs as root, which some servers refuse.
    pub(super) fn unless_root(name: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let users = std::fs::read_to_string("/etc/passwd").unwrap();
        let fields = users.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| fields[0] == name);
        let fields = fields.unwrap_or_else(|| panic!("there is no user {name}: install Debian's package postgresql"));
        Some(Self { uid: fields[2].parse().unwrap(), gid: fields[3].parse().unwrap() })
    }

    /// Gives a file or folder to this user.
    pub(super) fn chown(self, path: &Path) {
        std::os::unix::fs::chown(path, Some(self.uid), Some(self.gid)).unwrap();
    }

    /// Has a command run as this user.
    pub(super) fn apply_to(self, command: &mut Command) {
        command.uid(self.uid).gid(self.gid);
    }
}

/// A folder for a server, and the server while it runs.
#[derive(Debug)]
pub(super) struct ManagedServer {
    folder: TempDir,
    user: Option<ServerUser>,
    /// The signal that ends the server in the quickest good order.
    stop_signal: &'static str,
    child: Option<(Child, Pid)>,
}

impl ManagedServer {
    pub(super) fn new(owner: Option<ServerUser>, end: &'static str) -> Self {
        let folder = tempfile::Builder::new().prefix("stele-server-").tempdir().unwrap();
        if let Some(owner) = owner {
            owner.chown(folder.path());
        }
        Self { folder, user: owner, stop_signal: end, child: None }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file that only the server may read.
    pub(super) fn write_file(&self, name: &str, content: &str) {
        use std::os::unix::fs::OpenOptionsExt as _;
        let path = self.path(name);
        let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&path).unwrap();
        file.write_all(content.as_bytes()).unwrap();
        if let Some(owner) = self.user {
            owner.chown(&path);
        }
    }

    /// A command in this folder, as the server's user.
    pub(super) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        if let Some(owner) = self.user {
            owner.apply_to(&mut command);
        }
        command.current_dir(self.folder.path());
        command
    }

    /// Starts the server.
    pub(super) fn start(&mut self, program: &Path, args: &[String]) {
        self.stop_with("TERM");
        let mut command = self.command("sh");
        command.args(["-c", SUPERVISOR_SCRIPT, "sh", self.stop_signal]).args([self.folder.path(), program]).args(args);
        let mut nurse = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut id = String::new();
        BufReader::new(nurse.stdout.take().unwrap()).read_line(&mut id).unwrap();
        let id = id.trim().parse().ok().and_then(Pid::from_raw).expect("the id of a process");
        self.child = Some((nurse, id));
    }

    /// The server's process, while it runs.
    pub(super) fn process_id(&self) -> Option<Pid> {
        self.child.as_ref().map(|(_, id)| *id)
    }

    /// Ends the server with a signal and waits for its end.
    pub(super) fn stop_with(&mut self, how: &str) {
        if let Some((mut nurse, _)) = self.child.take() {
            if let Some(mut stdin) = nurse.stdin.take() {
                let _ = writeln!(stdin, "{how}");
            }
            let _ = nurse.wait();
        }
    }

    /// What the server printed.
    pub(super) fn log(&self) -> String {
        std::fs::read(self.path("log")).map(|log| String::from_utf8_lossy(&log).into_owned()).unwrap_or_default()
    }

    /// Whether somebody took the port before the server did.
    pub(super) fn port_was_taken(&self) -> bool {
        self.log().contains("Address already in use")
    }
}

impl Drop for ManagedServer {
    fn drop(&mut self) {
        self.stop_with(self.stop_signal);
    }
}

/// Stops these processes (`true`), or has them go on.
pub(super) fn set_paused(ids: &[Pid], halt: bool) {
    for id in ids {
        // One that has ended in the meantime needs neither.
        let _ = kill_process(*id, if halt { Signal::STOP } else { Signal::CONT });
    }
}

pub(super) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Where a program is: in `PATH`, or in one of `folders`.
pub(super) fn find_program(name: &str, folders: &[PathBuf]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).chain(folders.iter().cloned()).map(|folder| folder.join(name)).find(|at| at.exists())
}
