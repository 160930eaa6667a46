//! Runs the `stele` command in a temporary installation: `stele up` on a free port, and the administrative commands.

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// Timeout of every wait in the tests.
pub(crate) const TEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Polls until `attempt` returns a value; panics with `what` after [`TEST_TIMEOUT`].
pub(crate) fn eventually<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + TEST_TIMEOUT;
    loop {
        if let Some(value) = attempt() {
            return value;
        }
        assert!(Instant::now() < deadline, "timeout: {what}");
        std::thread::sleep(Duration::from_millis(3));
    }
}

/// Exit code and output of a command.
#[derive(Debug)]
pub(crate) struct CommandOutput {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl CommandOutput {
    /// The last word on standard output of a successful command: an id, a secret or a token.
    #[track_caller]
    pub(crate) fn last_stdout_word(&self) -> String {
        self.assert_success().stdout.split_whitespace().last().expect("something on standard output").to_owned()
    }

    /// Asserts exit code 0 and nothing on standard error.
    #[track_caller]
    pub(crate) fn assert_success(&self) -> &Self {
        assert_eq!((self.code, self.stderr.as_str()), (Some(0), ""), "{self:?}");
        self
    }

    /// Asserts the exit code and a one-line error that contains `message`.
    #[track_caller]
    pub(crate) fn assert_failed(&self, code: i32, message: &str) {
        assert_eq!((self.code, self.stdout.as_str()), (Some(code), ""), "{self:?}");
        let is_one_line = self.stderr.ends_with('\n') && self.stderr.lines().count() == 1;
        assert!(is_one_line && self.stderr.starts_with("error: "), "{self:?}");
        assert!(self.stderr.contains(message), "`{message}` is not in {self:?}");
    }
}

/// Asserts the exit code, and the counts of an import in the last line.
#[track_caller]
pub(crate) fn assert_ended(output: &CommandOutput, code: i32, last_line: &str) {
    assert_eq!((output.code, output.stdout.lines().last()), (Some(code), Some(last_line)), "{output:?}");
}

fn read_file(file: &mut File) -> String {
    let mut text = String::new();
    file.rewind().unwrap();
    file.read_to_string(&mut text).unwrap();
    text
}

/// A child process that is killed when dropped.
pub(crate) struct KillOnDrop(pub(crate) Child);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A temporary folder with a data folder, and the settings of the programs that run on it.
pub(crate) struct Installation {
    folder: TempDir,
    environment: Vec<(String, String)>,
}

impl Installation {
    /// An installation with cheap password hashes.
    pub(crate) fn new() -> Self {
        Self::with_settings(&[("STELE_HASH_COST", "64,1,1,weak")])
    }

    /// An installation with these settings.
    pub(crate) fn with_settings(settings: &[(&str, &str)]) -> Self {
        let mut installation = Self { folder: TempDir::new().unwrap(), environment: Vec::new() };
        installation.set("STELE_ADMIN_LISTEN", "127.0.0.1:0");
        for (name, value) in settings {
            installation.set(name, value);
        }
        installation
    }

    /// Sets a setting for programs that are started from now on.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Removes the setting that was set last.
    pub(crate) fn unset(&mut self) {
        self.environment.pop();
    }

    /// A path in the temporary folder, outside of the data folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The data folder.
    pub(crate) fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// The settings of the programs.
    pub(crate) fn settings(&self) -> Vec<(String, String)> {
        let data = ("STELE_DATA".to_owned(), self.data().display().to_string());
        [&[data], &self.environment[..]].concat()
    }

    /// The command `stele` with `args` on this installation.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        self.program(Path::new(env!("CARGO_BIN_EXE_stele")), args)
    }

    /// The program at `path` with `args` on this installation.
    pub(crate) fn program(&self, path: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(path);
        let is_setting = |name: &str| name.starts_with("STELE_") || name.starts_with("OTEL_");
        for (name, _) in std::env::vars_os().filter(|(name, _)| is_setting(&name.to_string_lossy())) {
            command.env_remove(name);
        }
        command.envs(self.settings()).args(args);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).current_dir(self.folder.path());
        command
    }

    /// Runs `stele` with `args` until it exits.
    pub(crate) fn run(&self, args: &[&str]) -> CommandOutput {
        self.run_with(args, "")
    }

    /// Runs `stele` with `args`, and `input` on its standard input, until it exits.
    pub(crate) fn run_with(&self, args: &[&str], input: &str) -> CommandOutput {
        let (mut stdout, mut stderr) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        let (out, err) = (stdout.try_clone().unwrap(), stderr.try_clone().unwrap());
        let mut child = KillOnDrop(self.command(args).stdin(Stdio::piped()).stdout(out).stderr(err).spawn().unwrap());
        // A command that rejects its arguments does not read its input, and may have exited already.
        let _ = child.0.stdin.take().unwrap().write_all(input.as_bytes());
        let status = eventually(&format!("the end of {args:?}"), || child.0.try_wait().unwrap());
        CommandOutput { code: status.code(), stdout: read_file(&mut stdout), stderr: read_file(&mut stderr) }
    }

    /// Adds a user; returns the id.
    #[track_caller]
    pub(crate) fn add_user(&self, name: &str, password: &str, options: &[&str]) -> String {
        let args = [&["user", "add", "--username", name, "--password-stdin"], options].concat();
        self.run_with(&args, password).last_stdout_word()
    }

    /// Registers a MeFP app that may hand its users over to `may_token`; returns the shared secret and the app's
    /// secret.
    #[track_caller]
    pub(crate) fn add_app(&self, name: &str, may_token: &str) -> (String, String) {
        let outcome = self.run(&["app", "add", name, "--may-token", may_token]);
        let shared_secret =
            outcome.assert_success().stdout.lines().next().unwrap().split_whitespace().last().unwrap().to_owned();
        (shared_secret, outcome.last_stdout_word())
    }

    /// Starts `stele up`.
    pub(crate) fn start_up(&self) -> Server {
        self.start_up_with(&[])
    }

    /// Starts `stele up` with further arguments and waits until it prints that it is up.
    pub(crate) fn start_up_with(&self, args: &[&str]) -> Server {
        let listen = if args.contains(&"--listen") { &[][..] } else { &["--listen", "127.0.0.1:0"] };
        let args = [&["up"], listen, args].concat();
        let (stdout, stderr) = (self.path("stdout"), self.path("stderr"));
        let log = File::options().create(true).append(true).open(&stderr).unwrap();
        let child = self.command(&args).stdout(File::create(&stdout).unwrap()).stderr(log).spawn().unwrap();
        let child = KillOnDrop(child);
        let mut server = Server { child, url: String::new(), stdout, stderr, outbox: self.data().join("outbox.jsonl") };
        server.url = eventually("stele up", || server.ready_url());
        server
    }
}

/// A running `stele up`.
pub(crate) struct Server {
    child: KillOnDrop,
    pub(crate) url: String,
    stdout: PathBuf,
    stderr: PathBuf,
    outbox: PathBuf,
}

impl Server {
    fn ready_url(&mut self) -> Option<String> {
        if let Some(status) = self.child.0.try_wait().unwrap() {
            panic!("stele up ended with {status}: {}", self.log());
        }
        let printed = self.stdout();
        let (first, _) = printed.split_once('\n')?;
        let url = first.strip_prefix("Stele is up at ").expect("the ready line comes first").split(' ').next().unwrap();
        // The last line of the output, so everything before it (the demo's table) is complete, too.
        printed.contains("Ctrl-C stops it.\n").then(|| url.to_owned())
    }

    /// The server's process id.
    pub(crate) fn process_id(&self) -> u32 {
        self.child.0.id()
    }

    /// The server's standard output so far.
    pub(crate) fn stdout(&self) -> String {
        std::fs::read_to_string(&self.stdout).unwrap()
    }

    /// The URL of the admin port.
    pub(crate) fn admin_url(&self) -> String {
        self.stdout().split("(health: ").nth(1).unwrap().split("/readyz").next().unwrap().to_owned()
    }

    /// The log of this server, after the logs of the earlier servers of this installation.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.stderr).unwrap()).into_owned()
    }

    /// The outbox file that codes are written to.
    pub(crate) fn outbox(&self) -> &Path {
        &self.outbox
    }

    /// `HOST:PORT` of the public address.
    pub(crate) fn address(&self) -> &str {
        self.url.strip_prefix("http://").unwrap()
    }

    /// Every code sent to `to`, oldest first.
    pub(crate) fn codes(&self, to: &str) -> Vec<String> {
        Self::codes_in(&self.outbox, to)
    }

    /// Every code for `to` in an outbox file, oldest first.
    pub(crate) fn codes_in(outbox: &Path, to: &str) -> Vec<String> {
        let text = std::fs::read_to_string(outbox).unwrap_or_default();
        let complete_lines = text.rsplit_once('\n').map_or("", |(lines, _)| lines);
        let lines = complete_lines.lines().filter(|line| line.contains(to));
        // A full disk may have truncated a line.
        let lines = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["to"] == to).map(|line| line["code"].as_str().unwrap().to_owned()).collect()
    }

    /// Waits for the code for `to` that follows the first `already_sent` codes.
    pub(crate) fn next_code(&self, to: &str, already_sent: usize) -> String {
        eventually(&format!("code {already_sent} for {to}"), || self.codes(to).into_iter().nth(already_sent))
    }

    /// Sends the server a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child.0), signal).unwrap();
    }

    /// Waits until the server has exited; returns the exit code.
    pub(crate) fn wait_for_exit(&mut self) -> Option<i32> {
        eventually("the end of stele up", || self.child.0.try_wait().unwrap()).code()
    }

    /// Stops the server (SIGTERM, graceful shutdown); returns its log.
    pub(crate) fn stop(mut self) -> String {
        self.signal(Signal::TERM);
        assert_eq!(self.wait_for_exit(), Some(0), "{}", self.log());
        self.log()
    }

    /// Kills the server (SIGKILL).
    pub(crate) fn kill(&self) {
        self.signal(Signal::KILL);
    }
}

/// The path of libfaketime in Debian's package, for the variable `LD_PRELOAD` of a program whose clock is set.
pub(crate) fn libfaketime_path() -> String {
    let folders = std::fs::read_dir("/usr/lib").unwrap().map(|entry| entry.unwrap().path());
    let library = folders.map(|folder| folder.join("faketime/libfaketimeMT.so.1")).find(|path| path.exists());
    library.expect("faketime must be installed").display().to_string()
}
