//! Starts the gateway and services as separate programs, as in a deployment.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{Installation, KillOnDrop, eventually};

/// A running program of the workspace.
pub(crate) struct RunningProgram {
    child: KillOnDrop,
    log: PathBuf,
    /// `HOST:PORT` of the address that it serves.
    pub(crate) address: String,
    /// `HOST:PORT` of its admin port.
    pub(crate) admin: String,
}

impl RunningProgram {
    /// Starts the program `name` on free ports, with the data and settings of `installation` and further settings.
    pub(crate) fn start(installation: &Installation, name: &str, settings: &[(&str, &str)]) -> Self {
        let path = Path::new(env!("CARGO_BIN_EXE_stele")).with_file_name(name);
        assert!(path.exists(), "{} is missing: build the whole workspace (scripts/test)", path.display());
        static STARTED_PROGRAMS: AtomicU32 = AtomicU32::new(0);
        let number = STARTED_PROGRAMS.fetch_add(1, Ordering::Relaxed);
        let log = installation.path(&format!("{name}-{number}.log"));
        let mut command = installation.program(&path, &[]);
        command.env("STELE_LISTEN", "127.0.0.1:0").env("STELE_LOG_FORMAT", "json").envs(settings.iter().copied());
        command.stdout(Stdio::null()).stderr(File::create(&log).unwrap());
        let mut child = KillOnDrop(command.spawn().unwrap());
        let ready = eventually(&format!("{name} is ready"), || {
            let text = std::fs::read_to_string(&log).unwrap();
            if let Some(status) = child.0.try_wait().unwrap() {
                panic!("{name} ended with {status}: {text}");
            }
            let (complete_lines, _) = text.rsplit_once('\n')?;
            let mut lines = complete_lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            lines.find(|line| line["message"] == "ready" && line["admin_listen"].is_string())
        });
        let field = |name: &str| ready[name].as_str().unwrap().to_owned();
        Self { child, log, address: field("listen"), admin: field("admin_listen") }
    }

    /// The program's log so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// The lines of the program's log as JSON.
    pub(crate) fn log_lines(&self) -> Vec<Value> {
        self.log().lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"))).collect()
    }

    /// Stops the program (SIGINT) and waits until it has exited.
    pub(crate) fn stop(&mut self) {
        kill_process(Pid::from_child(&self.child.0), Signal::INT).unwrap();
        let status = eventually("the program's end", || self.child.0.try_wait().unwrap());
        assert_eq!(status.code(), Some(0), "{}", self.log());
    }
}
