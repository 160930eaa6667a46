//! A server process under a supervising shell, which stops the server even if the test process is killed; ports and
//! programs for it.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Starts the server, prints the server's process id, and waits for the name of a signal on standard input, which stops
/// the server. If standard input is closed first, the test process has ended: then the script sends the default signal
/// and removes the folder.
const SUPERVISOR_SCRIPT: &str = r#"
    default_signal=$1 folder=$2; shift 2
    "$@" </dev/null >>"$folder/log" 2>&1 & server=$!
    echo "$server"
    read -r signal || { signal=$default_signal; orphan=1; }
    kill -s "$signal" "$server"; kill -s CONT "$server"; wait "$server"
    [ -z "$orphan" ] || rm -rf "$folder""#;

/// The user that a server runs as, if that is not the user of the test.
#[derive(Clone, Copy, Debug)]
pub(super) struct ServerUser {
    uid: u32,
    gid: u32,
}

impl ServerUser {
    /// The user `name` if the test runs as root, which some servers refuse; otherwise `None`.
    pub(super) fn unless_root(name: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let users = std::fs::read_to_string("/etc/passwd").unwrap();
        let fields = users.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| fields[0] == name);
        let fields = fields.unwrap_or_else(|| panic!("there is no user {name}: install Debian's package postgresql"));
        Some(Self { uid: fields[2].parse().unwrap(), gid: fields[3].parse().unwrap() })
    }

    /// Makes this user the owner of a file or folder.
    pub(super) fn chown(self, path: &Path) {
        std::os::unix::fs::chown(path, Some(self.uid), Some(self.gid)).unwrap();
    }

    /// Makes `command` run as this user.
    pub(super) fn apply_to(self, command: &mut Command) {
        command.uid(self.uid).gid(self.gid);
    }
}

/// A server's temporary folder, and its process while it runs.
#[derive(Debug)]
pub(super) struct ManagedServer {
    folder: TempDir,
    user: Option<ServerUser>,
    /// The signal that stops the server fastest and still lets the server release its shared memory and files.
    stop_signal: &'static str,
    child: Option<(Child, Pid)>,
}

impl ManagedServer {
    pub(super) fn new(user: Option<ServerUser>, stop_signal: &'static str) -> Self {
        let folder = tempfile::Builder::new().prefix("stele-server-").tempdir().unwrap();
        if let Some(user) = user {
            user.chown(folder.path());
        }
        Self { folder, user, stop_signal, child: None }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file into the folder that only the server's user can read.
    pub(super) fn write_file(&self, name: &str, content: &str) {
        use std::os::unix::fs::OpenOptionsExt as _;
        let path = self.path(name);
        let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&path).unwrap();
        file.write_all(content.as_bytes()).unwrap();
        if let Some(user) = self.user {
            user.chown(&path);
        }
    }

    /// A command that runs in this folder as the server's user.
    pub(super) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        if let Some(user) = self.user {
            user.apply_to(&mut command);
        }
        command.current_dir(self.folder.path());
        command
    }

    /// Starts the server, after stopping the running one.
    pub(super) fn start(&mut self, program: &Path, args: &[String]) {
        self.stop_with("TERM");
        let mut command = self.command("sh");
        command.args(["-c", SUPERVISOR_SCRIPT, "sh", self.stop_signal]).args([self.folder.path(), program]).args(args);
        let mut supervisor =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut id = String::new();
        BufReader::new(supervisor.stdout.take().unwrap()).read_line(&mut id).unwrap();
        let id = id.trim().parse().ok().and_then(Pid::from_raw).expect("the supervisor prints a process id");
        self.child = Some((supervisor, id));
    }

    /// The server's process id, while it runs.
    pub(super) fn process_id(&self) -> Option<Pid> {
        self.child.as_ref().map(|(_, id)| *id)
    }

    /// Whether the server has been started and has not ended.
    pub(super) fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|(supervisor, id)| {
            // The supervisor reaps the server only when it is stopped, so the id cannot be another process's.
            let status = std::fs::read_to_string(format!("/proc/{}/stat", id.as_raw_nonzero()));
            let is_zombie = |stat: String| stat.rsplit_once(')').is_some_and(|(_, fields)| fields.starts_with(" Z"));
            supervisor.try_wait().is_ok_and(|exit| exit.is_none()) && status.is_ok_and(|stat| !is_zombie(stat))
        })
    }

    /// Sends the server a signal (`TERM`, `KILL`, …) and waits until the server has ended.
    pub(super) fn stop_with(&mut self, signal: &str) {
        if let Some((mut supervisor, _)) = self.child.take() {
            if let Some(mut stdin) = supervisor.stdin.take() {
                let _ = writeln!(stdin, "{signal}");
            }
            let _ = supervisor.wait();
        }
    }

    /// The server's output so far.
    pub(super) fn log(&self) -> String {
        std::fs::read(self.path("log")).map(|log| String::from_utf8_lossy(&log).into_owned()).unwrap_or_default()
    }

    /// Whether another process took the port before the server could bind it.
    pub(super) fn port_was_taken(&self) -> bool {
        self.log().contains("Address already in use")
    }
}

impl Drop for ManagedServer {
    fn drop(&mut self) {
        self.stop_with(self.stop_signal);
    }
}

/// Pauses processes (SIGSTOP); those that have ended are skipped.
pub(super) fn pause_all(ids: &[Pid]) {
    for id in ids {
        let _ = kill_process(*id, Signal::STOP);
    }
}

/// Resumes paused processes (SIGCONT); those that have ended are skipped.
pub(super) fn resume_all(ids: &[Pid]) {
    for id in ids {
        let _ = kill_process(*id, Signal::CONT);
    }
}

/// A port of loopback that is free now; another process may take it at any time.
pub(super) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The path of a program: in `PATH`, otherwise in one of `folders`.
pub(super) fn find_program(name: &str, folders: &[PathBuf]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(folders.iter().cloned())
        .map(|folder| folder.join(name))
        .find(|file| file.exists())
}
