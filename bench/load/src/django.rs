//! A stand-in for the server that Stele replaces: a plain Django view of cloudbox's login, served by gunicorn behind
//! nginx on the same PostgreSQL; and a gateway with svc-cloudbox that it is compared with.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use stele_bench_kit::dialect::{self, CLOUDBOX_LOGIN};
use stele_bench_kit::{BenchError, BlockingConnection, Result};

use crate::external_tools;
use crate::installation::{PopulationSizes, StoreServers, database};
use crate::server_process::{ServerProcess, returns_200};
use crate::servers::{self, RunningServer, TestCertificate};
use crate::test_bed::{DEFAULT_CONNECTIONS, workload};
use crate::user_population::{self, SaltedLogins};
use crate::workloads::{LoadKind, Population, Workload};

/// The lane of the Django view; by `--only` it stands for both lanes.
pub(crate) const KEY: &str = "django";
/// The lane of the gateway and the service that it is compared with.
pub(crate) const STELE: &str = "django-stele";

const WORKERS: &str = "3";
const REQUIREMENTS: &str = include_str!("../django/requirements.txt");
const FILES: [(&str, &str); 3] = [
    ("settings.py", include_str!("../django/settings.py")),
    ("views.py", include_str!("../django/views.py")),
    ("wsgi.py", include_str!("../django/wsgi.py")),
];

/// A Python virtual environment with what `requirements.txt` lists.
pub(crate) struct PythonEnvironment {
    gunicorn: PathBuf,
}

impl PythonEnvironment {
    /// The environment in the folder `kept`, made there if it is not, or if it has other versions.
    ///
    /// # Errors
    /// If Python or its module venv is missing, or PyPI cannot be reached.
    pub(crate) fn provide(kept: &Path) -> Result<Self> {
        let folder = kept.join("django");
        let (gunicorn, installed) = (folder.join("bin/gunicorn"), folder.join("installed.txt"));
        let environment = Self { gunicorn };
        if environment.gunicorn.exists() && std::fs::read_to_string(&installed).is_ok_and(|all| all == REQUIREMENTS) {
            return Ok(environment);
        }
        if folder.exists() {
            std::fs::remove_dir_all(&folder)?;
        }
        std::fs::create_dir_all(kept)?;
        eprintln!("Installing Django from PyPI in {} (once)", folder.display());
        let no_python = || BenchError::new("there is no python3; apt-get install python3 python3-venv");
        let mut venv = Command::new(external_tools::find_tool("python3").ok_or_else(no_python)?);
        succeed(venv.args(["-m", "venv"]).arg(&folder), "apt-get install python3-venv")?;
        let wanted = folder.join("requirements.txt");
        std::fs::write(&wanted, REQUIREMENTS)?;
        let mut pip = Command::new(folder.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", "-r"]).arg(&wanted);
        succeed(&mut pip, "this needs the network once; PIP_INDEX_URL names a mirror of PyPI")?;
        std::fs::rename(wanted, installed)?;
        Ok(environment)
    }
}

/// Runs a command to its end.
fn succeed(command: &mut Command, remedy: &str) -> Result<()> {
    let ended = command.env_remove("PYTHONPATH").env_remove("PYTHONHOME").stdin(Stdio::null()).output()?;
    if ended.status.success() {
        return Ok(());
    }
    // venv prints its errors to standard output.
    let printed = [ended.stdout, ended.stderr].concat();
    let printed = String::from_utf8_lossy(&printed).trim().to_owned();
    let line: Vec<_> = command.get_args().map(std::ffi::OsStr::to_string_lossy).collect();
    let program = command.get_program().to_string_lossy();
    Err(BenchError::new(format!("{program} {} fails ({remedy}): {printed}", line.join(" "))))
}

/// Both sides while they run.
pub(crate) struct DjangoComparison {
    gunicorn: ServerProcess,
    nginx: ServerProcess,
    /// Where nginx passes requests on to gunicorn.
    view: SocketAddr,
    service: RunningServer,
    gateway: RunningServer,
}

impl DjangoComparison {
    /// Fills the view's tables with the same users, starts both sides, and compares what they answer.
    ///
    /// # Errors
    /// If one does not start, or their answers differ.
    pub(crate) fn start(python: &PythonEnvironment, stores: &StoreServers, sizes: PopulationSizes) -> Result<Self> {
        fill(stores, sizes.main_users)?;
        let build = stores.current_build();
        let files = stores.run_folder_path().join("own");
        std::fs::create_dir_all(&files)?;
        let service = stores.service(build, "cloudbox", "svc-cloudbox", sizes.main_users).with_own_file(&files)?;
        let service = stores.start(&service)?;
        let gateway = stores.gateway(build, "gateway", &[service.address], "warn").with_own_file(&files)?;
        let gateway = stores.start(&gateway)?;
        let (gunicorn, nginx, view) = serve_view(python, stores, sizes.main_users)?;
        let both = Self { gunicorn, nginx, view, service, gateway };
        both.compare_answers(sizes.main_users)?;
        Ok(both)
    }

    /// What the processes are called, with their ids.
    pub(crate) fn named_processes(&self) -> Vec<(&'static str, u32)> {
        let all = [&self.gunicorn, &self.nginx, &self.service.process, &self.gateway.process];
        all.map(|process| (process.name, process.process_id)).to_vec()
    }

    /// The two lanes, one after the other in each round.
    pub(crate) fn workloads(&self) -> Vec<Workload> {
        let salted = |address| LoadKind::SaltedLogins {
            address,
            connections: DEFAULT_CONNECTIONS,
            of: Population::Main,
            share: None,
        };
        let mut stele = workload(STELE, "salted login through gateway and svc-cloudbox", salted(self.gateway.address));
        stele.processes = vec![self.gateway.process.process_id, self.service.process.process_id];
        let title = format!("the same call as a plain Django view, gunicorn with {WORKERS} workers");
        let mut django = workload(KEY, &title, salted(self.view));
        // Without nginx, which many sites run for more than this one server.
        django.processes = vec![self.gunicorn.process_id];
        vec![stele, django]
    }

    /// Whether a right login gets the same user from both sides, and a wrong one the same error.
    fn compare_answers(&self, users: u64) -> Result<()> {
        let mut logins = SaltedLogins::new(users).next_requests(2)?;
        // The first may have been used within this second, for the SELECT of `pgbench`; a proof is good once.
        logins.take();
        let right = logins.take().ok_or_else(|| BenchError::new("there are too few users"))?;
        let phone = user_population::phone(0).to_string();
        let wrong =
            json!({ "username": phone, "password": "0".repeat(32), "timestamp": user_population::unix_seconds() });
        let wrong = dialect::json_post(CLOUDBOX_LOGIN, &wrong).to_bytes();
        for (request, code) in [(right, "0000"), (wrong, "1002")] {
            let ours = answer(self.gateway.address, &request)?;
            let theirs = answer(self.view, &request)?;
            if ours != theirs || !ours.contains(&format!(r#""code":"{code}""#)) {
                return Err(BenchError::new(format!("code {code} is due; Stele answers {ours}, Django {theirs}")));
            }
        }
        Ok(())
    }
}

/// The status and the body of an answer, without the session's token, which must look like one.
fn answer(address: SocketAddr, request: &[u8]) -> Result<String> {
    let response = BlockingConnection::connect(address, Duration::from_secs(10))?.request(request)?.to_response();
    let text = response.text();
    let mut json: Value = serde_json::from_str(&text)
        .map_err(|e| BenchError::new(format!("a login is answered {}, without JSON ({e}): {text}", response.status)))?;
    if let Some(token) = json.pointer_mut("/data/user_token") {
        let is_token = token.as_str().is_some_and(|t| t.len() == 32 && t.bytes().all(|b| b.is_ascii_hexdigit()));
        if !is_token {
            return Err(BenchError::new(format!("{token} is no session token")));
        }
        *token = Value::Null;
    }
    Ok(format!("{} {json}", response.status))
}

/// Serves the view by gunicorn's default workers, and by nginx before them, as gunicorn's documentation asks for: these
/// workers take one request of a connection and close it, and nginx keeps the clients' connections open. Gives
/// gunicorn, nginx, and nginx's address.
fn serve_view(
    python: &PythonEnvironment,
    stores: &StoreServers,
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
    command.env("DJANGO_SETTINGS_MODULE", "settings").env("STAND_IN_DATABASE", database(users));
    command.env("STAND_IN_HOST", postgres.ip().to_string()).env("STAND_IN_PORT", postgres.port().to_string());
    for name in ["PYTHONPATH", "PYTHONHOME", "GUNICORN_CMD_ARGS", "WEB_CONCURRENCY"] {
        command.env_remove(name);
    }
    let gunicorn = ServerProcess::start(KEY, &command, "TERM", folder.join("gunicorn.log"))?;
    let (nginx, addresses) = servers::start_nginx(&folder, &[socket], &TestCertificate::generate(&folder)?)?;
    let view = addresses.first().copied().ok_or_else(|| BenchError::new("nginx serves nothing"))?;
    gunicorn.wait_until(|| returns_200(view, "/healthz"))?;
    Ok((gunicorn, nginx, view))
}

/// Makes the view's tables in a schema of their own in the database of the same users, and no session.
fn fill(stores: &StoreServers, users: u64) -> Result<()> {
    let database = database(users);
    // One by one: together they would be a transaction, in which nothing is vacuumed.
    for sql in [tables().as_str(), "VACUUM (FREEZE, ANALYZE) stand_in.users", "CHECKPOINT"] {
        stores.cluster.execute(&database, sql)?;
    }
    Ok(())
}

/// The tables: users by key and by phone, with their passwords' digests in clear, and sessions by token.
fn tables() -> String {
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
        let tables = tables();
        assert!(digests.iter().all(|digest| digest.len() == 32 && tables.contains(digest)));
    }

    #[test]
    fn a_command_that_fails_is_reported_with_its_remedy() {
        let failure = succeed(Command::new("sh").args(["-c", "echo no ensurepip; exit 1"]), "apt-get install it");
        let text = failure.unwrap_err().to_string();
        assert!(text.contains("apt-get install it") && text.contains("no ensurepip"), "{text}");
    }
}
