//! One run of the guide: its files and commands, with the addresses of this test, in a temporary folder.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::document::{Block, matches_output};
use super::old_servers::OldServers;
use crate::support::{KillOnDrop, eventually};

/// How long a block may take: it creates a database server, or imports and hashes all users.
const BLOCK_TIMEOUT: Duration = Duration::from_secs(180);

/// Runs a block with the variables and functions of the earlier ones. Commands that fail are written to a file.
const RUN_BLOCK: &str = r#"
    state=$1
    . "$state/variables"; . "$state/functions"
    . "$state/block"
    export -p > "$state/variables"; declare -f > "$state/functions"
    exit $result"#;

/// Where the users are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stores {
    /// SQLite in the data folder.
    Embedded,
    /// PostgreSQL and Redis.
    Servers,
}

pub(super) struct Weekend {
    folder: TempDir,
    pub(super) old: OldServers,
    /// Text of the guide, and what this test has in its place.
    replacements: Vec<(String, String)>,
    /// Settings that the operator adds to `stele.env`.
    settings: String,
    pub(super) url: String,
    nginx: Option<KillOnDrop>,
    /// The process id of the worker that nginx starts with.
    first_worker: String,
}

/// What a block printed.
#[derive(Debug)]
pub(super) struct BlockOutput {
    pub(super) stdout: String,
    pub(super) stderr: String,
}

impl Weekend {
    /// A weekend before its first block. `index` is another one for each weekend of this process.
    pub(super) fn new(index: u8, stores: Stores, tables: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let old = OldServers::start(tables);
        let [.., b, c] = std::process::id().to_be_bytes();
        // A loopback address that no other process uses, so that the ports on it are free.
        let address = Ipv4Addr::new(127, 100 + index, b, c);
        let path = |name: &str| folder.path().join(name).display().to_string();
        let without_scheme = |url: &str| url.strip_prefix("http://").unwrap().to_owned();
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("    {name}_temp_path {};\n", path(&format!("nginx-{name}"))));
        let replacements = [
            ("old-db", "127.0.0.1".to_owned()),
            ("3306", old.database.port().to_string()),
            ("old-cloudbox:8081", without_scheme(&old.cloudbox.url())),
            ("old-portal:8082", without_scheme(&old.portal.url())),
            ("http://www.example.com", format!("http://{address}:8000")),
            ("listen 80;", format!("listen {address}:8000;")),
            // nginx's own address stays.
            ("STELE_TRUSTED_PROXIES=127.0.0.1", "STELE_TRUSTED_PROXIES=127.0.0.1".to_owned()),
            ("127.0.0.1", address.to_string()),
            ("/srv/stele", path("srv")),
            ("/etc/nginx", path("etc-nginx")),
            ("/var/log/nginx", path("log-nginx")),
            ("/run/nginx.pid", path("nginx.pid")),
            ("http {\n", format!("http {{\n{}", temporary.concat())),
        ];
        let replacements = replacements.map(|(from, to)| (from.to_owned(), to)).to_vec();
        let settings = match stores {
            Stores::Embedded => String::new(),
            Stores::Servers => {
                let (database, redis) = (stele_testservers::database_url(), stele_testservers::redis_url());
                // A deployment on servers needs a way to send codes; none is sent here.
                let delivery = "smtp://127.0.0.1:9/?from=stele@example.com&tls=none";
                format!(
                    "export STELE_DATABASE_URL='{database}' STELE_REDIS_URL='{redis}' STELE_DELIVERY='{delivery}'\n"
                )
            }
        };
        let url = format!("http://{address}:8000");
        let weekend = Self { folder, old, replacements, settings, url, nginx: None, first_worker: String::new() };
        weekend.prepare_folder(address);
        weekend
    }

    fn prepare_folder(&self, address: Ipv4Addr) {
        for name in ["work", "etc-nginx", "log-nginx", "state", "programs"] {
            fs::create_dir(self.path(name)).unwrap();
        }
        let admin = format!("export STELE_ADMIN_LISTEN={address}:9080 STELE_HASH_COST=64,1,1,weak\n");
        fs::write(self.path("state/variables"), admin).unwrap();
        fs::write(self.path("state/functions"), "").unwrap();
        fs::write(self.path("script"), RUN_BLOCK).unwrap();
        // The operator's commands by their names: nginx has a configuration of its own.
        let nginx = format!("exec {} {} \"$@\"", nginx_program(), self.nginx_options().join(" "));
        for (name, command) in [("stele", format!("exec {} \"$@\"", env!("CARGO_BIN_EXE_stele"))), ("nginx", nginx)] {
            let program = self.path("programs").join(name);
            fs::write(&program, format!("#!/bin/sh\n{command}\n")).unwrap();
            fs::set_permissions(program, fs::Permissions::from_mode(0o700)).unwrap();
        }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A file in the folder that the operator works in.
    pub(super) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path("work").join(name)).unwrap()
    }

    fn nginx_options(&self) -> [String; 3] {
        let (folder, log) = (self.path("etc-nginx"), self.path("log-nginx/error.log"));
        [format!("-p {}", folder.display()), format!("-e {}", log.display()), "-c nginx.conf".to_owned()]
    }

    /// Starts nginx as the operator has it before the weekend, with everything at the old servers.
    pub(super) fn start_nginx(&mut self) {
        let before = "user www-data; pid /run/nginx.pid; events {}\nhttp {\n    access_log off;
            server { listen 80;
                location = /before { return 204; }
                location / { proxy_pass http://old-cloudbox:8081; }
                location /i/ { proxy_pass http://old-portal:8082; } } }";
        fs::write(self.path("etc-nginx/nginx.conf"), self.with_own_addresses(before)).unwrap();
        let mut command = Command::new(self.path("programs/nginx"));
        let log = fs::File::create(self.path("nginx.log")).unwrap();
        command.args(["-g", "daemon off;"]).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let nginx = command.spawn().unwrap();
        let children = format!("/proc/{0}/task/{0}/children", nginx.id());
        self.nginx = Some(KillOnDrop(nginx));
        eventually("nginx", || std::net::TcpStream::connect(self.url.strip_prefix("http://").unwrap()).ok());
        let pid = || fs::read_to_string(&children).unwrap().split_whitespace().next().map(str::to_owned);
        self.first_worker = eventually("a worker of nginx", pid);
    }

    /// Waits until the worker with the first configuration has ended: it may accept connections until then.
    pub(super) fn wait_for_first_reload(&self) {
        let worker = Path::new("/proc").join(&self.first_worker);
        eventually("the end of the first worker of nginx", || (!worker.exists()).then_some(()));
    }

    /// The text with every address and folder of the guide replaced by this test's, in one pass.
    pub(super) fn with_own_addresses(&self, text: &str) -> String {
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

    pub(super) fn write_file(&self, block: &Block) {
        let mut text = self.with_own_addresses(&block.text);
        if block.name == "stele.env" {
            text.push_str(&self.settings);
        }
        fs::write(self.path("work").join(&block.name), text).unwrap();
    }

    /// Runs commands, which end with these exit codes if they fail.
    pub(super) fn run(&self, block: &Block, expected_failures: &[i32]) -> BlockOutput {
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
    pub(super) fn assert_printed(&self, shown: &Block, output: &BlockOutput) {
        let printed = if output.stdout.is_empty() { &output.stderr } else { &output.stdout };
        let pattern = self.with_own_addresses(&shown.text);
        assert!(matches_output(&pattern, printed), "{}: the guide shows\n{pattern}but it is\n{printed}", shown.name);
    }

    /// Runs a command of this installation for the test itself; returns the output.
    pub(super) fn query(&self, command: &str) -> String {
        let block = Block { language: "sh".to_owned(), name: "query".to_owned(), text: command.to_owned() };
        self.run(&block, &[]).stdout
    }
}

impl Drop for Weekend {
    /// Stops what the blocks have started.
    fn drop(&mut self) {
        for (name, signal) in [("stele.pid", Signal::TERM), ("scratch.pid", Signal::KILL)] {
            let text = fs::read_to_string(self.path("work").join(name)).unwrap_or_default();
            let Some(id) = text.trim().parse().ok().and_then(Pid::from_raw) else { continue };
            // The id may be that of a process that has ended.
            if fs::read_link(format!("/proc/{}/cwd", text.trim())).is_ok_and(|cwd| cwd.starts_with(self.folder.path()))
            {
                let _ = kill_process(id, signal);
            }
        }
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

/// The nginx that `scripts/test` provides, or Debian's.
#[expect(clippy::disallowed_methods, reason = "the tests have no configuration")]
fn nginx_program() -> String {
    let program = std::env::var("STELE_TEST_NGINX").unwrap_or_else(|_| "/usr/sbin/nginx".to_owned());
    assert!(Path::new(&program).exists(), "{program} does not exist: use scripts/test, which downloads nginx");
    program
}
