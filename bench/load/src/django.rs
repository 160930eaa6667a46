//! Comparison with Django: a plain Django view of cloudbox's login, served by gunicorn behind nginx on the same
//! PostgreSQL, as a stand-in for the server that Stele replaces; and a gateway with svc-cloudbox.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use stele_bench_kit::dialect::{self, CLOUDBOX_LOGIN};
use stele_bench_kit::{BenchError, BlockingConnection, Result};

use crate::external_tools;
use crate::installation::{PopulationSizes, TestStores, database_name};
use crate::server_process::{ServerProcess, returns_200};
use crate::servers::{self, RunningServer, TestCertificate};
use crate::test_bed::{DEFAULT_CONNECTIONS, workload};
use crate::user_population::{self, SaltedLogins};
use crate::workloads::{LoadKind, Population, Workload};

/// The workload of the Django view. `--only` with this key selects both workloads.
pub(crate) const VIEW_KEY: &str = "django";
/// The workload of the gateway and the service.
pub(crate) const STELE_KEY: &str = "django-stele";

const WORKERS: &str = "3";
const REQUIREMENTS: &str = include_str!("../django/requirements.txt");
const FILES: [(&str, &str); 3] = [
    ("settings.py", include_str!("../django/settings.py")),
    ("views.py", include_str!("../django/views.py")),
    ("wsgi.py", include_str!("../django/wsgi.py")),
];

/// A Python virtual environment with the packages that `requirements.txt` lists.
pub(crate) struct PythonEnvironment {
    gunicorn: PathBuf,
}

impl PythonEnvironment {
    /// Returns the environment in `parent`, and creates it if it is missing or has other versions.
    ///
    /// # Errors
    /// If Python or its module venv is missing, or PyPI cannot be reached.
    pub(crate) fn ensure(parent: &Path) -> Result<Self> {
        let folder = parent.join("django");
        let (gunicorn, installed) = (folder.join("bin/gunicorn"), folder.join("installed.txt"));
        let environment = Self { gunicorn };
        if environment.gunicorn.exists() && std::fs::read_to_string(&installed).is_ok_and(|text| text == REQUIREMENTS) {
            return Ok(environment);
        }
        if folder.exists() {
            std::fs::remove_dir_all(&folder)?;
        }
        std::fs::create_dir_all(parent)?;
        eprintln!("Installing Django from PyPI in {} (once)", folder.display());
        let no_python = || BenchError::new("python3 is missing; run apt-get install python3 python3-venv");
        let mut venv = Command::new(external_tools::find_tool("python3").ok_or_else(no_python)?);
        run_command(venv.args(["-m", "venv"]).arg(&folder), "apt-get install python3-venv")?;
        let requirements = folder.join("requirements.txt");
        std::fs::write(&requirements, REQUIREMENTS)?;
        let mut pip = Command::new(folder.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", "-r"])
            .arg(&requirements);
        run_command(&mut pip, "it needs the network once; PIP_INDEX_URL names a mirror of PyPI")?;
        std::fs::rename(requirements, installed)?;
        Ok(environment)
    }
}

/// Runs a command; if it fails, the error contains `remedy` and the command's output.
fn run_command(command: &mut Command, remedy: &str) -> Result<()> {
    let ended = command.env_remove("PYTHONPATH").env_remove("PYTHONHOME").stdin(Stdio::null()).output()?;
    if ended.status.success() {
        return Ok(());
    }
    // venv prints its errors to standard output.
    let output = [ended.stdout, ended.stderr].concat();
    let output = String::from_utf8_lossy(&output).trim().to_owned();
    let line: Vec<_> = command.get_args().map(std::ffi::OsStr::to_string_lossy).collect();
    let program = command.get_program().to_string_lossy();
    Err(BenchError::new(format!("{program} {} failed ({remedy}): {output}", line.join(" "))))
}

/// The running programs of both sides.
pub(crate) struct DjangoComparison {
    gunicorn: ServerProcess,
    nginx: ServerProcess,
    /// nginx's address, in front of gunicorn.
    view: SocketAddr,
    service: RunningServer,
    gateway: RunningServer,
}

impl DjangoComparison {
    /// Fills the view's tables with the same users, starts both sides, and compares their responses.
    ///
    /// # Errors
    /// If a program does not start, or the responses differ.
    pub(crate) fn start(python: &PythonEnvironment, stores: &TestStores, sizes: PopulationSizes) -> Result<Self> {
        create_tables(stores, sizes.main_users)?;
        let build = stores.current_build();
        let files = stores.run_folder_path().join("own");
        std::fs::create_dir_all(&files)?;
        let service = stores.service(build, "cloudbox", "svc-cloudbox", sizes.main_users).with_own_file(&files)?;
        let service = stores.start(&service)?;
        let gateway = stores.gateway(build, "gateway", &[service.address], "warn").with_own_file(&files)?;
        let gateway = stores.start(&gateway)?;
        let (gunicorn, nginx, view) = serve_view(python, stores, sizes.main_users)?;
        let comparison = Self { gunicorn, nginx, view, service, gateway };
        comparison.compare_responses(sizes.main_users)?;
        Ok(comparison)
    }

    /// Names and ids of the processes.
    pub(crate) fn named_processes(&self) -> Vec<(&'static str, u32)> {
        let all = [&self.gunicorn, &self.nginx, &self.service.process, &self.gateway.process];
        all.map(|process| (process.name, process.process_id)).to_vec()
    }

    /// The two workloads, one after the other in each round.
    pub(crate) fn workloads(&self) -> Vec<Workload> {
        let salted_logins = |address| LoadKind::SaltedLogins {
            address,
            connections: DEFAULT_CONNECTIONS,
            population: Population::Main,
            share: None,
        };
        let mut stele =
            workload(STELE_KEY, "salted login through gateway and svc-cloudbox", salted_logins(self.gateway.address));
        stele.processes = vec![self.gateway.process.process_id, self.service.process.process_id];
        let title = format!("the same call as a plain Django view, gunicorn with {WORKERS} workers");
        let mut django = workload(VIEW_KEY, &title, salted_logins(self.view));
        // The memory of nginx is not counted, since many sites share one nginx among several servers.
        django.processes = vec![self.gunicorn.process_id];
        vec![stele, django]
    }

    /// Checks that a correct login returns the same user from both sides, and an incorrect one the same error.
    fn compare_responses(&self, users: u64) -> Result<()> {
        let mut logins = SaltedLogins::new(users).next_requests(2)?;
        // The first proof may have been used in this second, to capture the SELECT for pgbench; each is accepted once.
        logins.take();
        let correct = logins.take().ok_or_else(|| BenchError::new("there are too few users"))?;
        let phone = user_population::phone(0).to_string();
        let incorrect =
            json!({ "username": phone, "password": "0".repeat(32), "timestamp": user_population::unix_seconds() });
        let incorrect = dialect::json_post(CLOUDBOX_LOGIN, &incorrect).to_bytes();
        for (request, code) in [(correct, "0000"), (incorrect, "1002")] {
            let ours = normalized_response(self.gateway.address, &request)?;
            let theirs = normalized_response(self.view, &request)?;
            if ours != theirs || !ours.contains(&format!(r#""code":"{code}""#)) {
                return Err(BenchError::new(format!("expected code {code}; Stele returned {ours}, Django {theirs}")));
            }
        }
        Ok(())
    }
}

/// The status and the JSON body of a response. The session token, which differs each time, is checked for its format
/// and replaced by null.
fn normalized_response(address: SocketAddr, request: &[u8]) -> Result<String> {
    let response = BlockingConnection::connect(address, Duration::from_secs(10))?.request(request)?.to_response();
    let text = response.text();
    let mut json: Value = serde_json::from_str(&text)
        .map_err(|e| BenchError::new(format!("a login returned {} without JSON ({e}): {text}", response.status)))?;
    if let Some(token) = json.pointer_mut("/data/user_token") {
        let is_token = token.as_str().is_some_and(|t| t.len() == 32 && t.bytes().all(|b| b.is_ascii_hexdigit()));
        if !is_token {
            return Err(BenchError::new(format!("{token} is not a session token")));
        }
        *token = Value::Null;
    }
    Ok(format!("{} {json}", response.status))
}

/// Serves the view with gunicorn's default workers behind nginx, as gunicorn's documentation recommends: these workers
/// close each connection after one request, and nginx keeps the clients' connections open. Returns gunicorn, nginx, and
/// nginx's address.
fn serve_view(
    python: &PythonEnvironment,
    stores: &TestStores,
    users: u64,
) -> Result<(ServerProcess, ServerProcess, SocketAddr)> {
    let folder = stores.run_folder_path().join("django");
    std::fs::create_dir_all(&folder)?;
    for (name, text) in FILES {
        std::fs::write(folder.join(name), text)?;
    }
    let (socket, postgres) = (format!("unix:{}", folder.join("gunicorn.sock").display()), stores.cluster.address);
    let mut command = Command::new(&python.gunicorn);
    command.args(["--bind", &socket, "--workers", WORKERS]);
    command.args(["--log-level", "warning", "--no-control-socket", "--chdir"]).arg(&folder).arg("wsgi:application");
    command.env("DJANGO_SETTINGS_MODULE", "settings").env("STAND_IN_DATABASE", database_name(users));
    command.env("STAND_IN_HOST", postgres.ip().to_string()).env("STAND_IN_PORT", postgres.port().to_string());
    for name in ["PYTHONPATH", "PYTHONHOME", "GUNICORN_CMD_ARGS", "WEB_CONCURRENCY"] {
        command.env_remove(name);
    }
    let gunicorn = ServerProcess::start(VIEW_KEY, &command, "TERM", folder.join("gunicorn.log"))?;
    let (nginx, addresses) = servers::start_nginx(&folder, &[socket], &TestCertificate::generate(&folder)?)?;
    let view = addresses.first().copied().ok_or_else(|| BenchError::new("nginx has no address"))?;
    gunicorn.wait_until(|| returns_200(view, "/healthz"))?;
    Ok((gunicorn, nginx, view))
}

/// Creates the view's tables in a separate schema of the users' database, without sessions.
fn create_tables(stores: &TestStores, users: u64) -> Result<()> {
    let database = database_name(users);
    // Separately: several statements form a transaction, in which VACUUM is not allowed.
    for sql in [tables_sql().as_str(), "VACUUM (FREEZE, ANALYZE) stand_in.users", "CHECKPOINT"] {
        stores.cluster.execute(&database, sql)?;
    }
    Ok(())
}

/// SQL for the tables: users by id and phone, with unprotected password digests; sessions by token.
fn tables_sql() -> String {
    let digests = user_population::digests();
    let (first, count) = (user_population::FIRST_NUMBER, digests.len());
    let digests = digests.join("','");
    format!(
        "DROP SCHEMA IF EXISTS stand_in CASCADE; CREATE SCHEMA stand_in; \
         CREATE TABLE stand_in.users AS SELECT encode(id, 'hex')::uuid AS id, name, phone, coalesce(email, '') AS email, \
         to_timestamp(registered_at / 1000000.0) AS registered_at, \
         (ARRAY['{digests}'])[(number - {first}) % {count} + 1] AS digest, disabled, \
         CASE role WHEN 1 THEN 'admin' ELSE 'user' END AS role, real_name, gender, nickname, avatar_url, alias_id, \
         enterprise, group_name FROM users; \
         ALTER TABLE stand_in.users ADD PRIMARY KEY (id), ADD UNIQUE (phone); \
         CREATE TABLE stand_in.sessions (token text PRIMARY KEY, user_id uuid NOT NULL REFERENCES stand_in.users (id), \
         created_at timestamptz NOT NULL)"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_requirement_has_one_version() {
        let lines: Vec<_> = REQUIREMENTS.lines().filter(|line| !line.starts_with('#')).collect();
        assert!(lines.len() >= 3 && lines.iter().all(|line| line.contains("==")), "{lines:?}");
    }

    #[test]
    fn each_password_has_its_digest_in_the_table() {
        let digests = user_population::digests();
        let tables = tables_sql();
        assert!(digests.iter().all(|digest| digest.len() == 32 && tables.contains(digest)));
    }

    #[test]
    fn a_command_that_fails_is_reported_with_its_remedy() {
        let error = run_command(Command::new("sh").args(["-c", "echo no ensurepip; exit 1"]), "apt-get install it");
        let text = error.unwrap_err().to_string();
        assert!(text.contains("apt-get install it") && text.contains("no ensurepip"), "{text}");
    }
}
