//! Runs the blocks of a guide in a temporary folder, with the addresses and programs of the test.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::document::{Block, matches_output};
use crate::support::KillOnDrop;

/// How long a block may take: one creates a database server, or imports and hashes all users.
const BLOCK_TIMEOUT: Duration = Duration::from_secs(180);

/// Runs a block with the variables and functions of the earlier ones. Commands that fail are written to a file.
const RUN_BLOCK: &str = r#"
    state=$1
    . "$state/variables"; . "$state/functions"
    . "$state/block"
    # Of variables that are not exported, the lower-case ones: a shell's own have upper-case names.
    { export -p; for name in $(compgen -v | grep '^[a-z]'); do declare -p "$name"; done; } > "$state/variables"
    declare -f > "$state/functions"
    exit $result"#;

/// What a block printed.
#[derive(Debug)]
pub(crate) struct BlockOutput {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A folder with the files and programs of a guide.
pub(crate) struct BlockRunner {
    folder: TempDir,
    /// Text of the guide, and what this test has in its place.
    replacements: Vec<(String, String)>,
}

impl BlockRunner {
    /// A runner whose blocks start with these variables, as lines of a shell script.
    pub(crate) fn new(folder: TempDir, replacements: Vec<(String, String)>, variables: &str) -> Self {
        let runner = Self { folder, replacements };
        for name in ["work", "state", "programs"] {
            fs::create_dir(runner.path(name)).unwrap();
        }
        fs::write(runner.path("state/variables"), variables).unwrap();
        fs::write(runner.path("state/functions"), "").unwrap();
        fs::write(runner.path("script"), RUN_BLOCK).unwrap();
        runner
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A program of the guide by its name: a shell command, which gets the arguments.
    pub(crate) fn add_program(&self, name: &str, command: &str) {
        let program = self.path("programs").join(name);
        fs::write(&program, format!("#!/bin/sh\nexec {command} \"$@\"\n")).unwrap();
        fs::set_permissions(program, fs::Permissions::from_mode(0o700)).unwrap();
    }

    /// The text with every address and folder of the guide replaced by this test's, in one pass.
    pub(crate) fn with_own_addresses(&self, text: &str) -> String {
        let mut replaced = String::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let found = self.replacements.iter().find(|(from, _)| rest.starts_with(from.as_str()));
            let (taken, written) = match found {
                Some((from, to)) => (from.len(), to.as_str()),
                None => (first.len_utf8(), &rest[..first.len_utf8()]),
            };
            replaced.push_str(written);
            rest = &rest[taken..];
        }
        replaced
    }

    /// Writes a file into the folder that the guide works in, and `appended` after it.
    pub(crate) fn write_file(&self, block: &Block, appended: &str) {
        let text = self.with_own_addresses(&block.text) + appended;
        fs::write(self.path("work").join(&block.name), text).unwrap();
    }

    /// Runs commands, which end with these exit codes if they fail.
    pub(crate) fn run(&self, block: &Block, expected_failures: &[i32]) -> BlockOutput {
        let commands = self.with_own_addresses(&block.text);
        let trap = "trap 'echo $? >> \"$state/failed\"' ERR";
        fs::write(self.path("state/block"), format!("{trap}\n{commands}\nresult=$?\ntrap - ERR\n")).unwrap();
        let _ = fs::remove_file(self.path("state/failed"));
        let (stdout, stderr) = (self.path("stdout"), self.path("stderr"));
        let mut command = Command::new("bash");
        command.arg(self.path("script")).arg(self.path("state")).current_dir(self.path("work"));
        let own = self.path("programs").display().to_string();
        command.env_clear().env("PATH", format!("{own}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"));
        command.env("HOME", self.path("work")).env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
        command.stdout(fs::File::create(&stdout).unwrap()).stderr(fs::File::create(&stderr).unwrap());
        let status = wait(command.spawn().unwrap(), &block.name);
        let [stdout, stderr] = [stdout, stderr].map(|path| String::from_utf8(fs::read(path).unwrap()).unwrap());
        let output = BlockOutput { stdout, stderr };
        let failed = fs::read_to_string(self.path("state/failed")).unwrap_or_default();
        let failed: Vec<i32> = failed.lines().map(|line| line.parse().unwrap()).collect();
        assert_eq!(failed, expected_failures, "{}: {output:?}", block.name);
        assert!(status == 0 || Some(&status) == failed.last(), "{}: {status}: {output:?}", block.name);
        output
    }

    /// Asserts that the commands printed what the guide shows; an error message if they printed nothing else.
    pub(crate) fn assert_printed(&self, shown: &Block, output: &BlockOutput) {
        let printed = if output.stdout.is_empty() { &output.stderr } else { &output.stdout };
        let pattern = self.with_own_addresses(&shown.text);
        assert!(matches_output(&pattern, printed), "{}: the guide shows\n{pattern}but it is\n{printed}", shown.name);
    }

    /// Runs a command of this installation for the test itself; returns the output.
    pub(crate) fn query(&self, command: &str) -> String {
        let block = Block { language: "sh".to_owned(), name: "query".to_owned(), text: command.to_owned() };
        self.run(&block, &[]).stdout
    }
}

fn wait(child: Child, name: &str) -> i32 {
    let mut child = KillOnDrop(child);
    let deadline = Instant::now() + BLOCK_TIMEOUT;
    loop {
        if let Some(status) = child.0.try_wait().unwrap() {
            return status.code().unwrap_or(-1);
        }
        assert!(Instant::now() < deadline, "timeout: the block {name}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
