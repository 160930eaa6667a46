//! Everything that is measured, on free ports: PostgreSQL with its users, Redis, the product's programs, what they are
//! compared with.

use std::cell::OnceCell;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use stele_bench_kit::dialect::App;
use stele_bench_kit::{Dialect, Failure, Programs, Result};
use stele_core::hex;
use stele_core::verifier::Cost;
use tempfile::TempDir;

use crate::cluster::Cluster;
use crate::population::Rows;
use crate::process::{Process, answers, free_address};
use crate::servers::{self, Server};
use crate::{embedded, tools};

/// What all MeFP apps share.
const MEFP_SECRET: &str = "0123456789abcdefghijklmnopqrstuv";
/// The one app, and its own secret.
const APP: (&str, &str) = ("bench", "fedcba9876543210");

/// The page that says whether a program is ready.
const READY: &str = "/readyz";

/// How many users each database has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// What all but the growth is measured with.
    pub(crate) users: u64,
    /// What it grows from.
    pub(crate) few: u64,
    /// What it grows to, if it is asked for.
    pub(crate) most: Option<u64>,
}

/// The stores with their users, and a folder for the run.
pub(crate) struct Stores {
    programs: Programs,
    kept: PathBuf,
    run: TempDir,
    pub(crate) cluster: Cluster,
    pub(crate) redis: Server,
    sizes: Sizes,
    rows: OnceCell<Rows>,
}

/// A program of the product and how it is started.
#[derive(Clone)]
pub(crate) struct Start {
    /// What it is called in tables.
    pub(crate) name: &'static str,
    program: PathBuf,
    arguments: &'static [&'static str],
    settings: Vec<(&'static str, String)>,
    /// The page that says whether it is ready.
    ready: &'static str,
}

impl Stores {
    /// Starts the servers on what is kept in `kept`, and makes what is not there yet.
    ///
    /// # Errors
    /// If something cannot be started, made or filled.
    pub(crate) fn open(programs: Programs, kept: &Path, sizes: Sizes) -> Result<Self> {
        tools::installed()?;
        std::fs::create_dir_all(kept)?;
        let run = tempfile::Builder::new().prefix("stele-load-").tempdir()?;
        let cluster = Cluster::start(kept, run.path().join("postgres.log"))?;
        let redis = servers::redis(run.path())?;
        let stores = Self { programs, kept: kept.to_owned(), run, cluster, redis, sizes, rows: OnceCell::new() };
        let all = [Some(sizes.few), Some(sizes.users), sizes.most];
        for users in all.into_iter().flatten() {
            stores.provide(users)?;
        }
        stores.provide_embedded()?;
        Ok(stores)
    }

    fn provide(&self, users: u64) -> Result<()> {
        let database = database(users);
        let there = self.cluster.has(&database, users);
        if !there {
            self.cluster.create(&database)?;
        }
        let settings = self.on_servers(users);
        self.stele(&["migrate"], &settings)?;
        if !there {
            self.cluster.fill(&database, users, self.rows()?)?;
            self.stele(&["app", "add", APP.0, "--secret", APP.1], &settings)?;
        }
        // The trail of earlier runs, for what it costs to write grows with it.
        self.cluster.execute(&database, "TRUNCATE audit")
    }

    fn provide_embedded(&self) -> Result<()> {
        let folder = self.embedded_folder();
        let file = folder.join("users.db");
        let there = embedded::has(&file, self.sizes.users);
        if !there && folder.exists() {
            std::fs::remove_dir_all(&folder)?;
        }
        for state in ["state.db", "state.db-wal", "state.db-shm"] {
            if folder.join(state).exists() {
                std::fs::remove_file(folder.join(state))?;
            }
        }
        self.stele(&["migrate"], &self.embedded())?;
        if !there {
            embedded::fill(&file, self.sizes.users, self.rows()?)?;
        }
        embedded::renew(&file)
    }

    /// Made once: its hashes take a second or two.
    fn rows(&self) -> Result<&Rows> {
        if let Some(rows) = self.rows.get() {
            return Ok(rows);
        }
        let file = self.keys().join("seal-1.key");
        let text = std::fs::read_to_string(&file)?;
        let key = text.get(..64).and_then(hex::decode::<32>);
        let key = key.ok_or_else(|| Failure::new(format!("{} is no key", file.display())))?;
        // The product's own cost, or each login by password would raise it.
        let rows = Rows::new(1, key, Cost::default())?;
        Ok(self.rows.get_or_init(|| rows))
    }

    fn keys(&self) -> PathBuf {
        self.kept.join("data").join("keys")
    }

    fn embedded_folder(&self) -> PathBuf {
        self.kept.join(format!("embedded-{}", self.sizes.users))
    }

    /// The settings of a program on PostgreSQL with this many users, and on Redis.
    fn on_servers(&self, users: u64) -> Vec<(&'static str, String)> {
        let mut settings = self.common(&self.kept.join("data"));
        settings.push(("STELE_DATABASE_URL", self.cluster.url(&database(users))));
        settings.push(("STELE_REDIS_URL", format!("redis://{}?prefix=u{users}", self.redis.address)));
        settings
    }

    /// The settings of a program on the embedded store.
    fn embedded(&self) -> Vec<(&'static str, String)> {
        self.common(&self.embedded_folder())
    }

    /// The protections are as they come: nothing of them is set.
    fn common(&self, data: &Path) -> Vec<(&'static str, String)> {
        vec![
            ("STELE_DATA", data.display().to_string()),
            ("STELE_KEYS", self.keys().display().to_string()),
            ("STELE_MEFP_SECRET", MEFP_SECRET.to_owned()),
            // The gateway and the proxies are on this machine.
            ("STELE_TRUSTED_PROXIES", "127.0.0.1".to_owned()),
            ("STELE_DRAIN", "0".to_owned()),
        ]
    }

    fn stele(&self, arguments: &[&str], settings: &[(&'static str, String)]) -> Result<()> {
        let mut command = clean(&self.programs.path("stele"));
        command.args(arguments).envs(settings.iter().cloned()).stdin(Stdio::null());
        let ended = command.output()?;
        if ended.status.success() {
            return Ok(());
        }
        let why = String::from_utf8_lossy(&ended.stderr).trim().to_owned();
        let remedy = format!("remove {} to begin anew", self.kept.display());
        Err(Failure::new(format!("stele {}: {why} ({remedy})", arguments.join(" "))))
    }

    /// The MeFP app that is registered.
    ///
    /// # Errors
    /// Never: its keys are of the right length.
    pub(crate) fn app(&self) -> Result<App> {
        App::new(APP.0, MEFP_SECRET, APP.1)
    }

    /// A service on PostgreSQL with this many users.
    pub(crate) fn service(&self, name: &'static str, program: &str, users: u64) -> Start {
        let (program, settings) = (self.programs.path(program), self.on_servers(users));
        Start { name, program, arguments: &[], settings, ready: READY }
    }

    /// MeFP's call without its envelope.
    ///
    /// # Errors
    /// If this program cannot tell where it is.
    pub(crate) fn plain(&self, users: u64) -> Result<Start> {
        let program = std::env::current_exe()?.with_file_name("plain");
        Ok(Start { name: "plain", program, arguments: &[], settings: self.on_servers(users), ready: READY })
    }

    /// A gateway whose cloudbox routes lead to `instances`, at this level of its log: at `info`, the default, each
    /// request is a line. That the other services are not there is as it should be, so it is not asked for them.
    pub(crate) fn gateway(&self, name: &'static str, instances: &[SocketAddr], log: &str) -> Start {
        let urls: Vec<_> = instances.iter().map(|address| format!("http://{address}")).collect();
        let settings = vec![
            ("STELE_UPSTREAM_CLOUDBOX", urls.join(",")),
            ("STELE_LOG", log.to_owned()),
            ("STELE_DRAIN", "0".to_owned()),
        ];
        Start { name, program: self.programs.path("gateway"), arguments: &[], settings, ready: "/healthz" }
    }

    /// A gateway before one instance of each service, in the order of [`Dialect::ALL`].
    pub(crate) fn whole_gateway(&self, name: &'static str, instances: &[SocketAddr]) -> Start {
        let led = Dialect::ALL.iter().zip(instances);
        let settings = led.map(|(dialect, address)| (dialect.upstream(), format!("http://{address}"))).collect();
        Start { name, program: self.programs.path("gateway"), arguments: &[], settings, ready: READY }
    }

    /// `stele up`, on the embedded store or on PostgreSQL and Redis.
    pub(crate) fn up(&self, name: &'static str, on_servers: bool) -> Start {
        let settings = if on_servers { self.on_servers(self.sizes.users) } else { self.embedded() };
        Start { name, program: self.programs.path("stele"), arguments: &["up"], settings, ready: READY }
    }

    /// A folder that is removed after the run.
    pub(crate) fn folder(&self) -> &Path {
        self.run.path()
    }

    /// Starts a program of the product and waits until it is ready.
    ///
    /// # Errors
    /// If it does not become so.
    pub(crate) fn start(&self, start: &Start) -> Result<Server> {
        let (address, admin) = (free_address()?, free_address()?);
        let mut command = clean(&start.program);
        command.envs(start.settings.iter().cloned()).args(start.arguments);
        command.env("STELE_LISTEN", address.to_string()).env("STELE_ADMIN_LISTEN", admin.to_string());
        let log = self.folder().join(format!("{}-{}.log", start.name, address.port()));
        let process = Process::start(start.name, &command, "TERM", log)?;
        process.until(|| answers(address, start.ready))?;
        Ok(Server { process, address })
    }
}

/// The database of this many users.
pub(crate) fn database(users: u64) -> String {
    format!("bench_{users}")
}

/// A program with nothing of the caller's own settings.
fn clean(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("STELE_") || text.starts_with("OTEL_") {
            command.env_remove(&name);
        }
    }
    command
}
