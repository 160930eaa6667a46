//! The installation under test: databases with users, settings, and how the product's programs are started.

use std::cell::OnceCell;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use stele_bench_kit::dialect::MefpApp;
use stele_bench_kit::{BenchError, DialectKind, ReleasePrograms, Result};
use stele_core::hex;
use stele_core::verifier::Argon2Cost;
use tempfile::TempDir;

use crate::postgres_cluster::PostgresCluster;
use crate::server_process::{ServerProcess, accepts_connections, command_without_settings, free_address, returns_200};
use crate::servers::{self, RunningServer, TestCertificate};
use crate::user_population::UserRows;
use crate::{embedded_store, external_tools};

/// The secret that all MeFP apps share (`STELE_MEFP_SECRET`).
const MEFP_SECRET: &str = "0123456789abcdefghijklmnopqrstuv";
/// Name and secret of the registered app.
const MEFP_APP: (&str, &str) = ("bench", "fedcba9876543210");

/// The readiness endpoint.
const READINESS_PATH: &str = "/readyz";

/// Number of users in each database.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PopulationSizes {
    /// The main database, which all workloads but those of growth use.
    pub(crate) main_users: u64,
    /// The small database of the growth comparison.
    pub(crate) few_users: u64,
    /// The large database of the growth comparison, if requested.
    pub(crate) most_users: Option<u64>,
}

/// The kind of stores that a program uses.
#[derive(Clone, Copy, Debug)]
pub(crate) enum StoreKind {
    /// SQLite files.
    Embedded,
    /// PostgreSQL and Redis.
    Servers,
}

/// The stores under test: database servers and embedded stores, filled with users; and a temporary folder for the run.
pub(crate) struct TestStores {
    current_build: ProductBuild,
    baseline_build: Option<ProductBuild>,
    database_folder: PathBuf,
    run_folder: TempDir,
    pub(crate) cluster: PostgresCluster,
    pub(crate) redis: RunningServer,
    sizes: PopulationSizes,
}

/// The programs of one build of the product. Each build has its own databases, Redis key prefix and keys, since schemas
/// and formats may differ.
pub(crate) struct ProductBuild {
    programs: ReleasePrograms,
    /// Suffix of the build's databases, prefix and folders.
    tag: &'static str,
    rows: OnceCell<UserRows>,
}

impl ProductBuild {
    fn new(programs: ReleasePrograms, tag: &'static str) -> Self {
        Self { programs, tag, rows: OnceCell::new() }
    }

    fn database_name(&self, users: u64) -> String {
        format!("{}{}", database_name(users), self.tag)
    }
}

/// A program of the product, with its arguments and settings.
#[derive(Clone)]
pub(crate) struct ProgramStart {
    /// The name in reports.
    pub(crate) name: &'static str,
    program: PathBuf,
    arguments: &'static [&'static str],
    settings: Vec<(&'static str, String)>,
    /// The readiness endpoint; if empty, the program is ready as soon as it accepts connections.
    readiness_path: &'static str,
}

impl ProgramStart {
    /// The same program from a copy of its file in `folder`. Processes of one file share its pages, which lowers each
    /// one's proportional set size; with its own file, a process is charged for all of them.
    ///
    /// # Errors
    /// If the file cannot be copied.
    pub(crate) fn with_own_file(mut self, folder: &Path) -> Result<Self> {
        let copy = folder.join(self.name);
        std::fs::copy(&self.program, &copy)?;
        self.program = copy;
        Ok(self)
    }
}

impl TestStores {
    /// Starts the servers on the data in `database_folder`, and creates missing databases for the current build and the
    /// `baseline`.
    ///
    /// # Errors
    /// If a server does not start, or a database cannot be created or filled.
    pub(crate) fn open(
        programs: ReleasePrograms,
        baseline: Option<ReleasePrograms>,
        database_folder: &Path,
        sizes: PopulationSizes,
    ) -> Result<Self> {
        external_tools::ensure_installed()?;
        std::fs::create_dir_all(database_folder)?;
        let run_folder = tempfile::Builder::new().prefix("stele-load-").tempdir()?;
        let cluster = PostgresCluster::start(database_folder, run_folder.path().join("postgres.log"))?;
        let redis = servers::start_redis(run_folder.path())?;
        let baseline = baseline.map(|programs| ProductBuild::new(programs, "_baseline"));
        let current = ProductBuild::new(programs, "");
        let stores = Self {
            current_build: current,
            baseline_build: baseline,
            database_folder: database_folder.to_owned(),
            run_folder,
            cluster,
            redis,
            sizes,
        };
        for users in [Some(sizes.few_users), Some(sizes.main_users), sizes.most_users].into_iter().flatten() {
            stores.ensure_database(&stores.current_build, users)?;
        }
        stores.ensure_embedded(&stores.current_build)?;
        if let Some(baseline) = &stores.baseline_build {
            stores.ensure_database(baseline, sizes.main_users)?;
            stores.ensure_embedded(baseline)?;
        }
        Ok(stores)
    }

    /// The build under test.
    pub(crate) fn current_build(&self) -> &ProductBuild {
        &self.current_build
    }

    /// The earlier build to compare with.
    pub(crate) fn baseline_build(&self) -> Option<&ProductBuild> {
        self.baseline_build.as_ref()
    }

    fn ensure_database(&self, build: &ProductBuild, users: u64) -> Result<()> {
        let database = build.database_name(users);
        let exists = self.cluster.has_users(&database, users);
        if !exists {
            self.cluster.create_database(&database)?;
        }
        let settings = self.server_settings(build, users);
        self.run_stele(build, &["migrate"], &settings)?;
        if !exists {
            self.cluster.fill_users(&database, users, self.rows_of(build)?)?;
            self.run_stele(build, &["app", "add", MEFP_APP.0, "--secret", MEFP_APP.1], &settings)?;
        }
        // Delete earlier runs' audit log, since its size affects the cost of writes.
        self.cluster.execute(&database, "TRUNCATE audit")
    }

    fn ensure_embedded(&self, build: &ProductBuild) -> Result<()> {
        let folder = self.embedded_folder(build);
        let file = folder.join("users.db");
        let exists = embedded_store::has_users(&file, self.sizes.main_users);
        if !exists && folder.exists() {
            std::fs::remove_dir_all(&folder)?;
        }
        for state in ["state.db", "state.db-wal", "state.db-shm"] {
            if folder.join(state).exists() {
                std::fs::remove_file(folder.join(state))?;
            }
        }
        self.run_stele(build, &["migrate"], &self.embedded_settings(build))?;
        if !exists {
            embedded_store::fill_users(&file, self.sizes.main_users, self.rows_of(build)?)?;
        }
        embedded_store::clear_audit_log(&file)
    }

    /// The rows of `build`, computed once: the hashes take a second or two.
    fn rows_of<'a>(&self, build: &'a ProductBuild) -> Result<&'a UserRows> {
        if let Some(rows) = build.rows.get() {
            return Ok(rows);
        }
        let file = self.key_folder(build).join("seal-1.key");
        let text = std::fs::read_to_string(&file)?;
        let key = text.get(..64).and_then(hex::decode::<32>);
        let key = key.ok_or_else(|| BenchError::new(format!("{} does not contain a key", file.display())))?;
        // The product's default cost; with another one, each password login would rehash.
        let rows = UserRows::new(1, key, Argon2Cost::default())?;
        Ok(build.rows.get_or_init(|| rows))
    }

    fn data_folder(&self, build: &ProductBuild) -> PathBuf {
        self.database_folder.join(format!("data{}", build.tag))
    }

    fn key_folder(&self, build: &ProductBuild) -> PathBuf {
        self.data_folder(build).join("keys")
    }

    fn embedded_folder(&self, build: &ProductBuild) -> PathBuf {
        self.database_folder.join(format!("embedded-{}{}", self.sizes.main_users, build.tag))
    }

    /// Settings for the PostgreSQL database with this many users, and Redis.
    fn server_settings(&self, build: &ProductBuild, users: u64) -> Vec<(&'static str, String)> {
        let mut settings = self.common_settings(build, &self.data_folder(build));
        let (redis, tag) = (self.redis.address, build.tag);
        settings.push(("STELE_DATABASE_URL", self.cluster.url(&build.database_name(users))));
        settings.push(("STELE_REDIS_URL", format!("redis://{redis}?prefix=u{users}{tag}")));
        settings
    }

    /// Settings for the embedded stores.
    fn embedded_settings(&self, build: &ProductBuild) -> Vec<(&'static str, String)> {
        self.common_settings(build, &self.embedded_folder(build))
    }

    /// Settings of all programs. Rate limits and other protections have their defaults.
    fn common_settings(&self, build: &ProductBuild, data: &Path) -> Vec<(&'static str, String)> {
        vec![
            ("STELE_DATA", data.display().to_string()),
            ("STELE_KEYS", self.key_folder(build).display().to_string()),
            ("STELE_MEFP_SECRET", MEFP_SECRET.to_owned()),
            // The gateway and the reference proxies.
            ("STELE_TRUSTED_PROXIES", "127.0.0.1".to_owned()),
            ("STELE_DRAIN", "0".to_owned()),
        ]
    }

    /// Runs `stele` on the PostgreSQL database with this many users; returns what it prints.
    ///
    /// # Errors
    /// If it fails.
    pub(crate) fn run_stele_on_servers(&self, arguments: &[&str], users: u64) -> Result<String> {
        let build = &self.current_build;
        self.run_stele(build, arguments, &self.server_settings(build, users))
    }

    fn run_stele(
        &self,
        build: &ProductBuild,
        arguments: &[&str],
        settings: &[(&'static str, String)],
    ) -> Result<String> {
        let mut command = command_without_settings(&build.programs.path("stele"));
        command.args(arguments).envs(settings.iter().cloned()).stdin(Stdio::null());
        let ended = command.output()?;
        if ended.status.success() {
            return Ok(String::from_utf8_lossy(&ended.stdout).into_owned());
        }
        let why = String::from_utf8_lossy(&ended.stderr).trim().to_owned();
        let remedy = format!("remove {} to create the databases again", self.database_folder.display());
        Err(BenchError::new(format!("stele {}: {why} ({remedy})", arguments.join(" "))))
    }

    /// The registered MeFP app.
    ///
    /// # Errors
    /// Never, since its secrets have the correct lengths.
    pub(crate) fn mefp_app(&self) -> Result<MefpApp> {
        MefpApp::new(MEFP_APP.0, MEFP_SECRET, MEFP_APP.1)
    }

    /// A service on the PostgreSQL database with this many users.
    pub(crate) fn service(&self, build: &ProductBuild, name: &'static str, program: &str, users: u64) -> ProgramStart {
        let (program, settings) = (build.programs.path(program), self.server_settings(build, users));
        ProgramStart { name, program, arguments: &[], settings, readiness_path: READINESS_PATH }
    }

    /// The reference program `plain`: MeFP's call without envelopes.
    ///
    /// # Errors
    /// If the path of the current executable is unknown.
    pub(crate) fn plain_json(&self, users: u64) -> Result<ProgramStart> {
        let program = std::env::current_exe()?.with_file_name("plain");
        Ok(ProgramStart {
            name: "plain",
            program,
            arguments: &[],
            settings: self.server_settings(&self.current_build, users),
            readiness_path: READINESS_PATH,
        })
    }

    /// A gateway in front of `instances` of cloudbox. The log level `info`, the default, includes the access log. The
    /// gateway counts as ready when `/healthz` succeeds, since `/readyz` requires all services.
    pub(crate) fn gateway(
        &self,
        build: &ProductBuild,
        name: &'static str,
        instances: &[SocketAddr],
        log_level: &str,
    ) -> ProgramStart {
        let urls: Vec<_> = instances.iter().map(|address| format!("http://{address}")).collect();
        let settings = vec![
            ("STELE_UPSTREAM_CLOUDBOX", urls.join(",")),
            ("STELE_LOG", log_level.to_owned()),
            ("STELE_DRAIN", "0".to_owned()),
        ];
        ProgramStart {
            name,
            program: build.programs.path("gateway"),
            arguments: &[],
            settings,
            readiness_path: "/healthz",
        }
    }

    /// A gateway with TLS in front of one cloudbox instance.
    pub(crate) fn tls_gateway(
        &self,
        build: &ProductBuild,
        instance: SocketAddr,
        certificate: &TestCertificate,
    ) -> ProgramStart {
        let mut start = self.gateway(build, "gateway", &[instance], "warn");
        let display_path = |path: &Path| path.display().to_string();
        start.settings.push(("STELE_TLS_CERT", display_path(&certificate.chain)));
        start.settings.push(("STELE_TLS_KEY", display_path(&certificate.key)));
        start.readiness_path = "";
        start
    }

    /// A gateway in front of one instance of each service, in the order of [`DialectKind::ALL`].
    pub(crate) fn gateway_to_all_services(&self, name: &'static str, instances: &[SocketAddr]) -> ProgramStart {
        let upstreams = DialectKind::ALL.iter().zip(instances);
        let settings =
            upstreams.map(|(dialect, address)| (dialect.upstream_setting(), format!("http://{address}"))).collect();
        ProgramStart {
            name,
            program: self.current_build.programs.path("gateway"),
            arguments: &[],
            settings,
            readiness_path: READINESS_PATH,
        }
    }

    /// `stele up` on stores of this kind.
    pub(crate) fn up(&self, build: &ProductBuild, name: &'static str, stores: StoreKind) -> ProgramStart {
        let settings = match stores {
            StoreKind::Embedded => self.embedded_settings(build),
            StoreKind::Servers => self.server_settings(build, self.sizes.main_users),
        };
        ProgramStart {
            name,
            program: build.programs.path("stele"),
            arguments: &["up"],
            settings,
            readiness_path: READINESS_PATH,
        }
    }

    /// The temporary folder of the run.
    pub(crate) fn run_folder_path(&self) -> &Path {
        self.run_folder.path()
    }

    /// Starts a program and waits until it is ready.
    ///
    /// # Errors
    /// If it does not become ready in time.
    pub(crate) fn start(&self, program: &ProgramStart) -> Result<RunningServer> {
        let (address, admin) = (free_address()?, free_address()?);
        let mut command = command_without_settings(&program.program);
        command.envs(program.settings.iter().cloned()).args(program.arguments);
        command.env("STELE_LISTEN", address.to_string()).env("STELE_ADMIN_LISTEN", admin.to_string());
        let log = self.run_folder_path().join(format!("{}-{}.log", program.name, address.port()));
        let process = ServerProcess::start(program.name, &command, "TERM", log)?;
        process.wait_until(|| {
            if program.readiness_path.is_empty() {
                accepts_connections(address)
            } else {
                returns_200(address, program.readiness_path)
            }
        })?;
        Ok(RunningServer { process, address })
    }
}

/// The name of the database with this many users.
pub(crate) fn database_name(users: u64) -> String {
    format!("bench_{users}")
}
