//! One run of the guide: its files and commands, with the addresses of this test, in a temporary folder.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::old_servers::OldServers;
use crate::guide::document::Block;
use crate::guide::runner::BlockRunner;
use crate::support::{KillOnDrop, eventually};

/// Where the users are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stores {
    /// SQLite in the data folder.
    Embedded,
    /// PostgreSQL and Redis.
    Servers,
}

pub(super) struct Weekend {
    pub(super) runner: BlockRunner,
    pub(super) old: OldServers,
    /// Settings that the operator adds to `stele.env`.
    settings: String,
    pub(super) url: String,
    nginx: Option<KillOnDrop>,
    /// The process id of the worker that nginx starts with.
    first_worker: String,
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
        let admin = format!("export STELE_ADMIN_LISTEN={address}:9080 STELE_HASH_COST=64,1,1,weak\n");
        let runner = BlockRunner::new(folder, replacements, &admin);
        let weekend = Self { runner, old, settings, url, nginx: None, first_worker: String::new() };
        weekend.prepare_folder();
        weekend
    }

    fn prepare_folder(&self) {
        for name in ["etc-nginx", "log-nginx"] {
            fs::create_dir(self.path(name)).unwrap();
        }
        // The operator's commands by their names: nginx has a configuration of its own.
        self.runner.add_program("stele", env!("CARGO_BIN_EXE_stele"));
        self.runner.add_program("nginx", &format!("{} {}", nginx_program(), self.nginx_options().join(" ")));
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.runner.path(name)
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
        fs::write(self.path("etc-nginx/nginx.conf"), self.runner.with_own_addresses(before)).unwrap();
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

    pub(super) fn write_file(&self, block: &Block) {
        self.runner.write_file(block, if block.name == "stele.env" { &self.settings } else { "" });
    }

    /// Runs a command of this installation for the test itself; returns the output.
    pub(super) fn query(&self, command: &str) -> String {
        self.runner.query(command)
    }
}

impl Drop for Weekend {
    /// Stops what the blocks have started.
    fn drop(&mut self) {
        for (name, signal) in [("stele.pid", Signal::TERM), ("scratch.pid", Signal::KILL)] {
            let text = fs::read_to_string(self.path("work").join(name)).unwrap_or_default();
            let Some(id) = text.trim().parse().ok().and_then(Pid::from_raw) else { continue };
            // The id may be that of a process that has ended.
            if fs::read_link(format!("/proc/{}/cwd", text.trim())).is_ok_and(|cwd| cwd.starts_with(self.path(""))) {
                let _ = kill_process(id, signal);
            }
        }
    }
}

/// The nginx that `scripts/test` provides, or Debian's.
#[expect(clippy::disallowed_methods, reason = "the tests have no configuration")]
fn nginx_program() -> String {
    let program = std::env::var("STELE_TEST_NGINX").unwrap_or_else(|_| "/usr/sbin/nginx".to_owned());
    assert!(Path::new(&program).exists(), "{program} does not exist: use scripts/test, which downloads nginx");
    program
}
