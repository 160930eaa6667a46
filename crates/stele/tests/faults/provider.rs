//! Fake providers that codes are delivered to: aiosmtpd for mail, Python's HTTP server for short messages.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::TEST_TIMEOUT;

/// A provider process. It is killed when dropped, and ends when this process does.
pub(crate) struct FakeProvider {
    child: Child,
    pub(crate) port: u16,
    lines: Mutex<Receiver<Value>>,
}

impl FakeProvider {
    /// Starts a script of `providers/` with these arguments. Uses the system's Python, for which Debian has the
    /// packages.
    pub(crate) fn start(script: &str, args: &[&str]) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/providers");
        let mut command = Command::new("/usr/bin/python3");
        command.args(["-B", "-W", "ignore"]).arg(folder.join(script)).args(args).env("PYTHONIOENCODING", "utf-8");
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python3 must be installed");
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let _ = sender.send(serde_json::from_str(&line).unwrap());
            }
        });
        let mut provider = Self { child, port: 0, lines: Mutex::new(lines) };
        let first = provider.next_message();
        provider.port = first["port"].as_u64().expect("python3-aiosmtpd must be installed").try_into().unwrap();
        provider
    }

    /// The next message that the provider reports.
    #[track_caller]
    pub(crate) fn next_message(&self) -> Value {
        self.lines.lock().unwrap().recv_timeout(TEST_TIMEOUT).expect("the provider reports a message")
    }

    /// The messages reported so far that have not been read.
    pub(crate) fn remaining_messages(&self) -> Vec<Value> {
        self.lines.lock().unwrap().try_iter().collect()
    }

    /// Makes the provider hang (SIGSTOP). The kernel still accepts connections for it.
    pub(crate) fn hang(&self) {
        kill_process(Pid::from_child(&self.child), Signal::STOP).unwrap();
    }

    /// Resumes the provider (SIGCONT).
    pub(crate) fn resume(&self) {
        kill_process(Pid::from_child(&self.child), Signal::CONT).unwrap();
    }
}

impl Drop for FakeProvider {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
