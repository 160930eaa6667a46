//! Private nginx, Caddy and Envoy: the reverse proxies that ask Stele about each request (forward auth).

use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::env_setting;
use super::process::{ManagedServer, find_program, free_port};

/// How long a proxy may take to listen: Envoy reads 100 MB of program first.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// nginx's main configuration around the tested file, which Debian includes from `conf.d` in the same place.
const NGINX_MAIN: &str = "daemon off; master_process off; pid pid; error_log stderr;
events { worker_connections 1024; }
http {
    access_log off;
    client_body_temp_path client_body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    include site.conf;
}
";

/// A reverse proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyProgram {
    /// nginx; its configuration is a file of `conf.d`.
    Nginx,
    /// Caddy; its configuration is a `Caddyfile`.
    Caddy,
    /// Envoy; its configuration is YAML.
    Envoy,
}

impl ProxyProgram {
    /// Every proxy.
    pub const ALL: [Self; 3] = [Self::Nginx, Self::Caddy, Self::Envoy];

    /// The program: the one that `scripts/test` names, or an installed one.
    fn path(self) -> PathBuf {
        let (setting, name) = match self {
            Self::Nginx => ("STELE_TEST_NGINX", "nginx"),
            Self::Caddy => ("STELE_TEST_CADDY", "caddy"),
            Self::Envoy => ("STELE_TEST_ENVOY", "envoy"),
        };
        let path = env_setting(setting).map(PathBuf::from).or_else(|| find_program(name, &["/usr/sbin".into()]));
        let path = path.unwrap_or_else(|| panic!("{name}: use scripts/test, which downloads it, or set {setting}"));
        assert!(path.exists(), "{setting}={}: no such file", path.display());
        path
    }

    /// Writes the configuration, and returns the command line for `env`.
    fn prepare(self, process: &ManagedServer, config: &str) -> Vec<String> {
        let (program, folder) = (self.path().display().to_string(), process.path("").display().to_string());
        let to_text = |args: &[&str]| args.iter().map(ToString::to_string).collect();
        match self {
            Self::Nginx => {
                process.write_file("nginx.conf", NGINX_MAIN);
                process.write_file("site.conf", config);
                to_text(&[&program, "-e", "stderr", "-p", &folder, "-c", "nginx.conf"])
            }
            Self::Caddy => {
                process.write_file("Caddyfile", config);
                // Caddy stores its state below these folders, and listens for its own administration.
                let [home, data, settings] =
                    ["HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"].map(|name| format!("{name}={folder}"));
                let admin = format!("CADDY_ADMIN=unix/{folder}/admin.sock");
                to_text(&[&home, &data, &settings, &admin, &program, "run", "--config", "Caddyfile"])
            }
            Self::Envoy => {
                process.write_file("envoy.yaml", config);
                // Hot restart would share memory with any other Envoy of this machine.
                let limits = ["--disable-hot-restart", "--concurrency", "1", "--log-level", "warning"];
                to_text(&[&[program.as_str(), "-c", "envoy.yaml"], limits.as_slice()].concat())
            }
        }
    }
}

/// A reverse proxy on a free port of loopback that stops when dropped. If the test fails, its log is printed.
#[derive(Debug)]
pub struct ReverseProxy {
    program: ProxyProgram,
    port: u16,
    process: Mutex<ManagedServer>,
}

impl ReverseProxy {
    /// Starts `program` with the configuration that `configure` returns for its port.
    pub fn start(program: ProxyProgram, configure: impl Fn(u16) -> String) -> Self {
        // Another process may take the port before the proxy binds it.
        let started = (0..10).find_map(|_| {
            let port = free_port();
            Self::try_start(program, port, &configure(port))
        });
        started.unwrap_or_else(|| panic!("{program:?} does not start"))
    }

    fn try_start(program: ProxyProgram, port: u16, config: &str) -> Option<Self> {
        let mut process = ManagedServer::new(None, "KILL");
        let command = program.prepare(&process, config);
        process.start("env".as_ref(), &command);
        let proxy = Self { program, port, process: Mutex::new(process) };
        let deadline = Instant::now() + START_TIMEOUT;
        while Instant::now() < deadline {
            if proxy.port_was_taken() {
                return None;
            }
            let is_running = proxy.process_guard().is_running();
            assert!(is_running, "{program:?} has ended");
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Some(proxy);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("{program:?} does not listen on port {port}")
    }

    fn port_was_taken(&self) -> bool {
        self.log().to_ascii_lowercase().contains("address already in use")
    }

    fn process_guard(&self) -> MutexGuard<'_, ManagedServer> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The program.
    pub fn program(&self) -> ProxyProgram {
        self.program
    }

    /// The proxy's port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The proxy's output so far.
    pub fn log(&self) -> String {
        self.process_guard().log()
    }
}

impl Drop for ReverseProxy {
    #[expect(clippy::print_stderr, reason = "the test runner shows the output of a failed test")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("log of {:?}:\n{}", self.program, self.log());
        }
    }
}
