//! A temporary installation of the product: a data folder with settings, and the programs that run on it.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;
use stele_service::Settings;
use tempfile::TempDir;

use crate::product_process::{STARTUP_TIMEOUT, free_address, open_append};
use crate::{BenchError, DialectKind, MefpApp, ProductProcess, ReleasePrograms, Result, StoreServers};

/// A data folder with its settings. Processes that use it must be dropped before it.
#[derive(Debug)]
pub struct Installation {
    programs: ReleasePrograms,
    settings: Vec<(String, String)>,
    started_count: AtomicUsize,
    folder: TempDir,
}

impl Installation {
    /// An installation on embedded stores. `settings` (`STELE_…`) override the defaults.
    ///
    /// # Errors
    /// If the folder or its stores cannot be created.
    pub fn embedded(programs: &ReleasePrograms, settings: &[(&str, &str)]) -> Result<Self> {
        Self::with_settings(
            programs,
            settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        )
    }

    /// An installation on `servers`, with its own database and Redis key prefix.
    ///
    /// # Errors
    /// If the folder or its stores cannot be created.
    pub fn on_servers(programs: &ReleasePrograms, servers: &StoreServers, settings: &[(&str, &str)]) -> Result<Self> {
        let mut all: Vec<_> = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let database = servers.postgres().new_database_url();
        // The database's name is unique, so it serves as the prefix too.
        let prefix = database.rsplit("stele_test_").next().unwrap_or_default().to_owned();
        all.push(("STELE_REDIS_URL".to_owned(), format!("{}?prefix={prefix}", servers.redis().url())));
        all.push(("STELE_DATABASE_URL".to_owned(), database));
        Self::with_settings(programs, all)
    }

    /// An installation on a user store and a state store with these URLs (`STELE_DATABASE_URL`, `STELE_REDIS_URL`).
    ///
    /// # Errors
    /// If the folder or its stores cannot be created.
    pub fn on_urls(
        programs: &ReleasePrograms,
        database_url: &str,
        redis_url: &str,
        settings: &[(&str, &str)],
    ) -> Result<Self> {
        let urls = [("STELE_DATABASE_URL", database_url), ("STELE_REDIS_URL", redis_url)];
        Self::embedded(programs, &[settings, &urls].concat())
    }

    fn with_settings(programs: &ReleasePrograms, settings: Vec<(String, String)>) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("stele-bench-").tempdir()?;
        let installation = Self { programs: programs.clone(), settings, started_count: AtomicUsize::new(0), folder };
        installation.run_stele(&["migrate"], "")?;
        Ok(installation)
    }

    /// The data folder.
    pub fn data_folder(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The path of `name` next to the data folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The data folder, and those settings of this installation that every service reads, as [`Settings`], to open the
    /// stores in this process.
    pub fn product_settings(&self) -> Settings {
        let shared = stele_app::settings::shared_settings();
        let find_shared_name = |name: &str| {
            shared.iter().flat_map(|list| list.iter()).map(|setting| setting.name()).find(|other| *other == name)
        };
        let ours = self.settings.iter().filter_map(|(name, value)| Some((find_shared_name(name)?, value.clone())));
        Settings::default().with_values([("STELE_DATA", self.data_folder().display().to_string())]).with_values(ours)
    }

    /// The value of a setting that this installation overrides.
    pub fn overridden_setting(&self, name: &str) -> Option<&str> {
        self.settings.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// A command for `program` with this installation's settings and `extra` ones, without the caller's `STELE_…` and
    /// `OTEL_…` variables.
    pub fn command(&self, program: &str, extra: &[(&str, &str)]) -> Command {
        let mut command = Command::new(self.programs.path(program));
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("STELE_") || text.starts_with("OTEL_") {
                command.env_remove(&name);
            }
        }
        command.env("STELE_DATA", self.data_folder());
        command.envs(self.settings.iter().map(|(name, value)| (name, value))).envs(extra.iter().copied());
        command.current_dir(self.folder.path());
        command
    }

    /// Runs `stele` with `args` and `input` on standard input. Returns its standard output.
    ///
    /// # Errors
    /// If the program cannot be started or fails; the message contains its standard error.
    pub fn run_stele(&self, args: &[&str], input: &str) -> Result<String> {
        let mut command = self.command("stele", &[]);
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // A command that reads no input has closed the pipe.
            let _ = stdin.write_all(input.as_bytes());
        }
        let ended = child.wait_with_output()?;
        if !ended.status.success() {
            return Err(BenchError::new(format!("stele {args:?}: {}", String::from_utf8_lossy(&ended.stderr).trim())));
        }
        Ok(String::from_utf8_lossy(&ended.stdout).into_owned())
    }

    /// Registers a MeFP app. `may_token` lists the apps, separated by commas, that it may issue handover tokens for.
    ///
    /// # Errors
    /// If `stele app add` fails.
    pub fn add_mefp_app(&self, name: &str, may_token: &str) -> Result<MefpApp> {
        let printed = self.run_stele(&["app", "add", name, "--may-token", may_token], "")?;
        let last_word = |text: Option<&str>| text.and_then(|text| text.split_whitespace().last()).map(str::to_owned);
        match (last_word(printed.lines().next()), last_word(Some(&printed))) {
            (Some(mefp_secret), Some(app_secret)) => MefpApp::new(name, &mefp_secret, &app_secret),
            _ => Err(BenchError::new(format!("stele app add printed {printed:?}"))),
        }
    }

    /// Creates a TMS client token.
    ///
    /// # Errors
    /// If `stele token add` fails.
    pub fn add_client_token(&self, name: &str) -> Result<String> {
        let printed = self.run_stele(&["token", "add", name], "")?;
        let token = printed.split_whitespace().last();
        token.map(str::to_owned).ok_or_else(|| BenchError::new("stele token add printed nothing"))
    }

    /// Starts `stele up` with additional settings.
    ///
    /// # Errors
    /// If it does not become ready; the message contains its log.
    pub fn start_stele_up(&self, extra: &[(&str, &str)]) -> Result<ProductProcess> {
        self.start_program("stele", &["up"], extra)
    }

    /// Starts an instance of a dialect's service with additional settings.
    ///
    /// # Errors
    /// As [`Installation::start_stele_up`].
    pub fn start_service(&self, dialect: DialectKind, extra: &[(&str, &str)]) -> Result<ProductProcess> {
        self.start_program(dialect.program(), &[], extra)
    }

    /// Starts a gateway in front of `instances` with additional settings.
    ///
    /// # Errors
    /// As [`Installation::start_stele_up`].
    pub fn start_gateway(
        &self,
        instances: &[(DialectKind, SocketAddr)],
        extra: &[(&str, &str)],
    ) -> Result<ProductProcess> {
        let gateway = self.spawn_gateway(instances, extra)?;
        gateway.wait_until_ready(STARTUP_TIMEOUT)?;
        Ok(gateway)
    }

    /// As [`Installation::start_gateway`], without waiting until it is ready, which needs an instance of each dialect.
    ///
    /// # Errors
    /// If the program cannot be started.
    pub fn spawn_gateway(
        &self,
        instances: &[(DialectKind, SocketAddr)],
        extra: &[(&str, &str)],
    ) -> Result<ProductProcess> {
        let upstream_urls = |dialect: DialectKind| {
            let of_dialect = instances.iter().filter(move |(other, _)| *other == dialect);
            let urls: Vec<_> = of_dialect.map(|(_, address)| format!("http://{address}")).collect();
            // A dialect without an instance points to port 9 (discard), where no server listens.
            if urls.is_empty() { "http://127.0.0.1:9".to_owned() } else { urls.join(",") }
        };
        let settings = DialectKind::ALL.map(|dialect| (dialect.upstream_setting(), upstream_urls(dialect)));
        let settings: Vec<_> = settings.iter().map(|(name, urls)| (*name, urls.as_str())).collect();
        self.spawn_program("gateway", &[], (free_address()?, free_address()?), &[&settings, extra].concat())
    }

    /// Starts an instance of a dialect's service without waiting until it is ready: on the addresses of `predecessor`,
    /// a process that has ended, or on free ones.
    ///
    /// # Errors
    /// If the program cannot be started.
    pub fn spawn_service(
        &self,
        dialect: DialectKind,
        predecessor: Option<&ProductProcess>,
        extra: &[(&str, &str)],
    ) -> Result<ProductProcess> {
        let addresses = match predecessor {
            Some(process) => (process.address(), process.admin()),
            None => (free_address()?, free_address()?),
        };
        self.spawn_program(dialect.program(), &[], addresses, extra)
    }

    fn start_program(&self, program: &str, args: &[&str], extra: &[(&str, &str)]) -> Result<ProductProcess> {
        let process = self.spawn_program(program, args, (free_address()?, free_address()?), extra)?;
        process.wait_until_ready(STARTUP_TIMEOUT)?;
        Ok(process)
    }

    fn spawn_program(
        &self,
        program: &str,
        args: &[&str],
        (address, admin): (SocketAddr, SocketAddr),
        extra: &[(&str, &str)],
    ) -> Result<ProductProcess> {
        let number = self.started_count.fetch_add(1, Ordering::Relaxed);
        let log = self.path(&format!("{program}-{number}.log"));
        open_append(&log)?;
        let mut command = self.command(program, extra);
        command.env("STELE_LISTEN", address.to_string()).env("STELE_ADMIN_LISTEN", admin.to_string()).args(args);
        ProductProcess::spawn(&format!("{program}-{number}"), &command, (address, admin), log)
    }

    /// The number of codes sent to recipients that begin with `prefix`, which has no plus sign.
    pub fn sent_message_count(&self, prefix: &str) -> usize {
        self.codes_in_outbox(|recipient| recipient.trim_start_matches('+').starts_with(prefix)).len()
    }

    /// All codes sent to `recipient`, oldest first.
    pub fn sent_codes(&self, recipient: &str) -> Vec<String> {
        self.codes_in_outbox(|other| other == recipient)
    }

    /// The codes of the messages whose recipient matches, from the file that the outbox delivery appends to.
    fn codes_in_outbox(&self, matches_recipient: impl Fn(&str) -> bool) -> Vec<String> {
        let text = std::fs::read_to_string(self.data_folder().join("outbox.jsonl")).unwrap_or_default();
        // The last line may be incomplete.
        let complete = text.rsplit_once('\n').map_or("", |(complete, _)| complete);
        let sent = complete.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let sent = sent.filter(|sent| sent["to"].as_str().is_some_and(&matches_recipient));
        sent.filter_map(|sent| sent["code"].as_str().map(str::to_owned)).collect()
    }
}
