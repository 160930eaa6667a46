//! Real servers that codes are delivered to: aiosmtpd for mail, Python's HTTP server for short messages.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::TEST_TIMEOUT;

/// A server that is stopped when it is dropped, and ends by itself when this process does.
pub(crate) struct FakeProvider {
    child: Child,
    pub(crate) port: u16,
    lines: Mutex<Receiver<Value>>,
}

impl FakeProvider {
    /// Starts the script of `providers/` with these arguments, by the system's own Python, for which Debian packages
    /// what it needs.
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

    /// What it tells next.
    #[track_caller]
    pub(crate) fn next_message(&self) -> Value {
        self.lines.lock().unwrap().recv_timeout(TEST_TIMEOUT).expect("the provider tells something")
    }

    /// What it has told that nobody has asked for.
    pub(crate) fn remaining_messages(&self) -> Vec<Value> {
        self.lines.lock().unwrap().try_iter().collect()
    }

    /// Has it hang (its system goes on taking connections, as it does for a server that is stuck), or go on.
    pub(crate) fn set_hanging(&self, hang: bool) {
        kill_process(Pid::from_child(&self.child), if hang { Signal::STOP } else { Signal::CONT }).unwrap();
    }
}

impl Drop for FakeProvider {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
