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
use crate::process::{Process, accepts, answers, free_address};
use crate::servers::{self, Certificate, Server};
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
    current: Build,
    baseline: Option<Build>,
    kept: PathBuf,
    run: TempDir,
    pub(crate) cluster: Cluster,
    pub(crate) redis: Server,
    sizes: Sizes,
}

/// The programs of one build of the product. Each build has databases, a Redis prefix and keys of its own, since schemas
/// and formats may differ between builds.
pub(crate) struct Build {
    programs: Programs,
    /// What its databases, prefix and folders end in.
    tag: &'static str,
    rows: OnceCell<Rows>,
}

impl Build {
    fn new(programs: Programs, tag: &'static str) -> Self {
        Self { programs, tag, rows: OnceCell::new() }
    }

    fn database(&self, users: u64) -> String {
        format!("{}{}", database(users), self.tag)
    }
}

/// A program of the product and how it is started.
#[derive(Clone)]
pub(crate) struct Start {
    /// What it is called in tables.
    pub(crate) name: &'static str,
    program: PathBuf,
    arguments: &'static [&'static str],
    settings: Vec<(&'static str, String)>,
    /// The page that says whether it is ready; empty if it is as soon as it takes connections.
    ready: &'static str,
}

impl Stores {
    /// Starts the servers on what is kept in `kept`, and makes what is not there yet, for the current build and for the
    /// `baseline` if there is one.
    ///
    /// # Errors
    /// If something cannot be started, made or filled.
    pub(crate) fn open(programs: Programs, baseline: Option<Programs>, kept: &Path, sizes: Sizes) -> Result<Self> {
        tools::installed()?;
        std::fs::create_dir_all(kept)?;
        let run = tempfile::Builder::new().prefix("stele-load-").tempdir()?;
        let cluster = Cluster::start(kept, run.path().join("postgres.log"))?;
        let redis = servers::redis(run.path())?;
        let baseline = baseline.map(|programs| Build::new(programs, "_baseline"));
        let current = Build::new(programs, "");
        let stores = Self { current, baseline, kept: kept.to_owned(), run, cluster, redis, sizes };
        for users in [Some(sizes.few), Some(sizes.users), sizes.most].into_iter().flatten() {
            stores.provide(&stores.current, users)?;
        }
        stores.provide_embedded(&stores.current)?;
        if let Some(baseline) = &stores.baseline {
            stores.provide(baseline, sizes.users)?;
            stores.provide_embedded(baseline)?;
        }
        Ok(stores)
    }

    /// The build that is being measured.
    pub(crate) fn current(&self) -> &Build {
        &self.current
    }

    /// The build that it is compared with.
    pub(crate) fn baseline(&self) -> Option<&Build> {
        self.baseline.as_ref()
    }

    fn provide(&self, build: &Build, users: u64) -> Result<()> {
        let database = build.database(users);
        let there = self.cluster.has(&database, users);
        if !there {
            self.cluster.create(&database)?;
        }
        let settings = self.on_servers(build, users);
        self.stele(build, &["migrate"], &settings)?;
        if !there {
            self.cluster.fill(&database, users, self.rows(build)?)?;
            self.stele(build, &["app", "add", APP.0, "--secret", APP.1], &settings)?;
        }
        // The trail of earlier runs, for what it costs to write grows with it.
        self.cluster.execute(&database, "TRUNCATE audit")
    }

    fn provide_embedded(&self, build: &Build) -> Result<()> {
        let folder = self.embedded_folder(build);
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
        self.stele(build, &["migrate"], &self.embedded(build))?;
        if !there {
            embedded::fill(&file, self.sizes.users, self.rows(build)?)?;
        }
        embedded::renew(&file)
    }

    /// Made once for each build: its hashes take a second or two.
    fn rows<'a>(&self, build: &'a Build) -> Result<&'a Rows> {
        if let Some(rows) = build.rows.get() {
            return Ok(rows);
        }
        let file = self.keys(build).join("seal-1.key");
        let text = std::fs::read_to_string(&file)?;
        let key = text.get(..64).and_then(hex::decode::<32>);
        let key = key.ok_or_else(|| Failure::new(format!("{} is no key", file.display())))?;
        // The product's own cost, or each login by password would raise it.
        let rows = Rows::new(1, key, Cost::default())?;
        Ok(build.rows.get_or_init(|| rows))
    }

    fn data(&self, build: &Build) -> PathBuf {
        self.kept.join(format!("data{}", build.tag))
    }

    fn keys(&self, build: &Build) -> PathBuf {
        self.data(build).join("keys")
    }

    fn embedded_folder(&self, build: &Build) -> PathBuf {
        self.kept.join(format!("embedded-{}{}", self.sizes.users, build.tag))
    }

    /// The settings of a program on PostgreSQL with this many users, and on Redis.
    fn on_servers(&self, build: &Build, users: u64) -> Vec<(&'static str, String)> {
        let mut settings = self.common(build, &self.data(build));
        let (redis, tag) = (self.redis.address, build.tag);
        settings.push(("STELE_DATABASE_URL", self.cluster.url(&build.database(users))));
        settings.push(("STELE_REDIS_URL", format!("redis://{redis}?prefix=u{users}{tag}")));
        settings
    }

    /// The settings of a program on the embedded store.
    fn embedded(&self, build: &Build) -> Vec<(&'static str, String)> {
        self.common(build, &self.embedded_folder(build))
    }

    /// The protections are as they come: nothing of them is set.
    fn common(&self, build: &Build, data: &Path) -> Vec<(&'static str, String)> {
        vec![
            ("STELE_DATA", data.display().to_string()),
            ("STELE_KEYS", self.keys(build).display().to_string()),
            ("STELE_MEFP_SECRET", MEFP_SECRET.to_owned()),
            // The gateway and the proxies are on this machine.
            ("STELE_TRUSTED_PROXIES", "127.0.0.1".to_owned()),
            ("STELE_DRAIN", "0".to_owned()),
        ]
    }

    fn stele(&self, build: &Build, arguments: &[&str], settings: &[(&'static str, String)]) -> Result<()> {
        let mut command = clean(&build.programs.path("stele"));
        command.args(arguments).envs(settings.iter().cloned()).stdin(Stdio::null());
        let ended = command.output()?;
        if ended.status.success() {
            return Ok(());
        }
        let why = String::from_utf8_lossy(&ended.stderr).trim().to_owned();
        let remedy = format!("remove {} to begin afresh", self.kept.display());
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
    pub(crate) fn service(&self, build: &Build, name: &'static str, program: &str, users: u64) -> Start {
        let (program, settings) = (build.programs.path(program), self.on_servers(build, users));
        Start { name, program, arguments: &[], settings, ready: READY }
    }

    /// MeFP's call without its envelope.
    ///
    /// # Errors
    /// If this program cannot tell where it is.
    pub(crate) fn plain(&self, users: u64) -> Result<Start> {
        let program = std::env::current_exe()?.with_file_name("plain");
        Ok(Start {
            name: "plain",
            program,
            arguments: &[],
            settings: self.on_servers(&self.current, users),
            ready: READY,
        })
    }

    /// A gateway whose cloudbox routes lead to `instances`, at this level of its log: at `info`, the default, each
    /// request is a line. That the other services are not there is as it should be, so it is not asked for them.
    pub(crate) fn gateway(&self, build: &Build, name: &'static str, instances: &[SocketAddr], log: &str) -> Start {
        let urls: Vec<_> = instances.iter().map(|address| format!("http://{address}")).collect();
        let settings = vec![
            ("STELE_UPSTREAM_CLOUDBOX", urls.join(",")),
            ("STELE_LOG", log.to_owned()),
            ("STELE_DRAIN", "0".to_owned()),
        ];
        Start { name, program: build.programs.path("gateway"), arguments: &[], settings, ready: "/healthz" }
    }

    /// The same over TLS.
    pub(crate) fn tls_gateway(&self, build: &Build, instance: SocketAddr, certificate: &Certificate) -> Start {
        let mut start = self.gateway(build, "gateway", &[instance], "warn");
        let path = |path: &Path| path.display().to_string();
        start.settings.push(("STELE_TLS_CERT", path(&certificate.chain)));
        start.settings.push(("STELE_TLS_KEY", path(&certificate.key)));
        start.ready = "";
        start
    }

    /// A gateway before one instance of each service, in the order of [`Dialect::ALL`].
    pub(crate) fn whole_gateway(&self, name: &'static str, instances: &[SocketAddr]) -> Start {
        let led = Dialect::ALL.iter().zip(instances);
        let settings = led.map(|(dialect, address)| (dialect.upstream(), format!("http://{address}"))).collect();
        Start { name, program: self.current.programs.path("gateway"), arguments: &[], settings, ready: READY }
    }

    /// `stele up`, on the embedded store or on PostgreSQL and Redis.
    pub(crate) fn up(&self, build: &Build, name: &'static str, on_servers: bool) -> Start {
        let settings = if on_servers { self.on_servers(build, self.sizes.users) } else { self.embedded(build) };
        Start { name, program: build.programs.path("stele"), arguments: &["up"], settings, ready: READY }
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
        process.until(|| if start.ready.is_empty() { accepts(address) } else { answers(address, start.ready) })?;
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
