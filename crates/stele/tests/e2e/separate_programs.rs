//! The gateway and a service as programs of their own, as they are deployed.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{Installation, KillOnDrop, eventually};

/// A program of the workspace, started and ready.
pub(crate) struct RunningProgram {
    child: KillOnDrop,
    log: PathBuf,
    /// `HOST:PORT` of what it serves, and of its admin port.
    pub(crate) address: String,
    pub(crate) admin: String,
}

impl RunningProgram {
    /// Starts `name` on free ports, on the data of `home`, with `home`'s settings and these.
    pub(crate) fn start(home: &Installation, name: &str, settings: &[(&str, &str)]) -> Self {
        let path = Path::new(env!("CARGO_BIN_EXE_stele")).with_file_name(name);
        assert!(path.exists(), "{} is missing: build the whole workspace (scripts/test)", path.display());
        let log = home.path(&format!("{name}.log"));
        let mut command = home.program(&path, &[]);
        command.env("STELE_LISTEN", "127.0.0.1:0").env("STELE_LOG_FORMAT", "json").envs(settings.iter().copied());
        command.stdout(Stdio::null()).stderr(File::create(&log).unwrap());
        let mut child = KillOnDrop(command.spawn().unwrap());
        let ready = eventually(&format!("{name} is ready"), || {
            let text = std::fs::read_to_string(&log).unwrap();
            if let Some(status) = child.0.try_wait().unwrap() {
                panic!("{name} ended with {status}: {text}");
            }
            let (whole, _) = text.rsplit_once('\n')?;
            let mut lines = whole.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            lines.find(|line| line["message"] == "ready" && line["admin_listen"].is_string())
        });
        let field = |name: &str| ready[name].as_str().unwrap().to_owned();
        Self { child, log, address: field("listen"), admin: field("admin_listen") }
    }

    /// Its log so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// The lines of its log, which is JSON.
    pub(crate) fn log_lines(&self) -> Vec<Value> {
        self.log().lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"))).collect()
    }

    /// Stops it as a service manager does, and waits for its end.
    pub(crate) fn stop(&mut self) {
        kill_process(Pid::from_child(&self.child.0), Signal::INT).unwrap();
        let status = eventually("the program's end", || self.child.0.try_wait().unwrap());
        assert_eq!(status.code(), Some(0), "{}", self.log());
    }
}
