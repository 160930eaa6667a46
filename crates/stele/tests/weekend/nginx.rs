//! nginx in front of the old servers and of Stele: each dialect's paths lead to one upstream, which `nginx -s reload`
//! moves.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::client::DialectKind;
use crate::old_world::{OldWorld, source};
use crate::support::{KillOnDrop, TEST_TIMEOUT, eventually};

/// Where the paths of a dialect lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Upstream {
    Old,
    Stele,
}

pub(crate) struct Nginx {
    folder: TempDir,
    address: Ipv4Addr,
    upstreams: [Upstream; 5],
    old: [String; 5],
    /// `HOST:PORT` of Stele.
    stele: String,
    generation: u32,
    process: Option<KillOnDrop>,
}

/// As in docs/MIGRATE.md, with all five APIs. `X-Upstream` is for the test.
const CONFIG: &str = r#"
worker_processes 2;
events { worker_connections 1024; }
http {
    access_log off;
TEMPORARY
    # Where a dialect's paths lead: $cloudbox, $tms, …
    include cutover.conf;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Host $host;
    proxy_set_header X-Forwarded-For $remote_addr;
    proxy_set_header X-Forwarded-Proto $scheme;
    proxy_next_upstream off;
    add_header X-Upstream $upstream_addr always;
    server {
        listen ADDRESS:8000 backlog=1024;
        location = /generation { return 200 $generation; }
        location /api/v1/cloudbox/ { proxy_pass http://$cloudbox; }
        location /container/api/v1/cloudbox/tms/auth/ { proxy_pass http://$tms; }
        location /i/ { proxy_pass http://$portal; }
        location /code/ { proxy_pass http://$portal; }
        location /auth/ { proxy_pass http://$mefp; }
        location ~* ^/api/v[1i]/auth/ { proxy_pass http://$jwt; }
    }
}
"#;

impl Nginx {
    /// Starts nginx with everything at the old servers.
    pub(crate) fn start(old: &OldWorld) -> Self {
        let folder = TempDir::new().unwrap();
        let [.., b, c] = std::process::id().to_be_bytes();
        // A loopback address that no other process uses, so that the port on it is free.
        let address = Ipv4Addr::new(127, 110, b, c);
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("    {name}_temp_path {}/{name};", folder.path().display()));
        let config = CONFIG.replace("ADDRESS", &address.to_string()).replace("TEMPORARY", &temporary.join("\n"));
        let config = format!("pid {}/nginx.pid;\n{config}", folder.path().display());
        fs::write(folder.path().join("nginx.conf"), config).unwrap();
        let old = DialectKind::ALL.map(|dialect| old.server(dialect).url().replace("http://", ""));
        let upstreams = [Upstream::Old; 5];
        let mut nginx =
            Self { folder, address, upstreams, old, stele: "127.0.0.1:9".to_owned(), generation: 0, process: None };
        nginx.write_cutover();
        let mut command = nginx.command();
        let log = fs::File::create(nginx.folder.path().join("stderr")).unwrap();
        command.args(["-g", "daemon off;"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        nginx.process = Some(KillOnDrop(command.spawn().unwrap()));
        eventually("nginx", || std::net::TcpStream::connect((nginx.address, 8000)).ok());
        nginx
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}:8000", self.address)
    }

    /// Sends all paths that lead to Stele to another instance.
    pub(crate) async fn set_stele(&mut self, address: &str) {
        address.clone_into(&mut self.stele);
        self.reload().await;
    }

    /// Moves the paths of a dialect.
    pub(crate) async fn set(&mut self, dialect: DialectKind, upstream: Upstream) {
        self.upstreams[dialect as usize] = upstream;
        self.reload().await;
    }

    /// The address that must answer for a dialect now.
    pub(crate) fn expected_upstream(&self, dialect: DialectKind) -> &str {
        match self.upstreams[dialect as usize] {
            Upstream::Old => &self.old[dialect as usize],
            Upstream::Stele => &self.stele,
        }
    }

    /// What nginx has logged.
    pub(crate) fn error_log(&self) -> String {
        fs::read_to_string(self.folder.path().join("error.log")).unwrap_or_default()
    }

    fn command(&self) -> Command {
        let mut command = Command::new(program());
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        command.args(["-p", &path(""), "-e", &path("error.log"), "-c", &path("nginx.conf")]);
        command
    }

    fn write_cutover(&self) {
        let mut text = format!("map $uri $generation {{ default {}; }}\n", self.generation);
        text += &format!("upstream stele {{ server {}; keepalive 64; }}\n", self.stele);
        for (dialect, address) in DialectKind::ALL.into_iter().zip(&self.old) {
            let name = source(dialect);
            let upstream = match self.upstreams[dialect as usize] {
                Upstream::Old => format!("old_{name}"),
                Upstream::Stele => "stele".to_owned(),
            };
            text += &format!("upstream old_{name} {{ server {address}; keepalive 64; }}\n");
            text += &format!("map $uri ${name} {{ default {upstream}; }}\n");
        }
        fs::write(self.folder.path().join("cutover.conf"), text).unwrap();
    }

    /// `nginx -s reload`; returns when new connections are served by the new configuration.
    async fn reload(&mut self) {
        self.generation += 1;
        self.write_cutover();
        let output = self.command().args(["-s", "reload"]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let client = reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap();
        let (url, expected) = (format!("{}/generation", self.url()), self.generation.to_string());
        let deadline = std::time::Instant::now() + TEST_TIMEOUT;
        let mut in_a_row = 0;
        while in_a_row < 10 {
            assert!(std::time::Instant::now() < deadline, "nginx does not reload: {}", self.error_log());
            let answer = client.get(&url).send().await.unwrap().text().await.unwrap();
            in_a_row = if answer == expected { in_a_row + 1 } else { 0 };
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    }
}

/// The nginx that `scripts/test` provides, or Debian's.
#[expect(clippy::disallowed_methods, reason = "the tests have no configuration")]
fn program() -> String {
    let program = std::env::var("STELE_TEST_NGINX").unwrap_or_else(|_| "/usr/sbin/nginx".to_owned());
    assert!(Path::new(&program).exists(), "{program} does not exist: use scripts/test, which downloads nginx");
    program
}
