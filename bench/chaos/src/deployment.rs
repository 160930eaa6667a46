//! The services under test: a gateway, and two instances of cloudbox and of the portal, on stores that a scenario has
//! started.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::{Duration, Instant};

use stele_bench_kit::{DialectKind, Installation, ProductProcess, ReleasePrograms, Result};

/// Rate limits would reject the clients, which all have one address; hashes are cheap, so that the stores are the
/// bottleneck.
const SETTINGS: &[(&str, &str)] = &[
    ("STELE_LIMIT_ACCOUNT", "1000000000"),
    ("STELE_LIMIT_ADDRESS", "1000000000"),
    ("STELE_SEND_RECIPIENT", "1000000000"),
    ("STELE_SEND_ADDRESS", "1000000000"),
    ("STELE_SEND_TOTAL", "0"),
    ("STELE_SESSIONS_PER_USER", "1000000"),
    ("STELE_HASH_COST", "64,1,1,weak"),
    ("STELE_WORKERS", "2"),
    ("STELE_DATABASE_CONNECTIONS", CONNECTIONS_SETTING),
    ("STELE_LOG", "info"),
];

/// The most connections that an instance may take at a PostgreSQL server: the default, set explicitly because the
/// results are judged by it.
pub(crate) const CONNECTIONS: u64 = 13;
const CONNECTIONS_SETTING: &str = "13";

/// The longest that a command of `stele` may take.
const CLI_TIMEOUT: Duration = Duration::from_secs(15);

/// Kinds of services, each with two instances.
const DIALECTS: [DialectKind; 2] = [DialectKind::Cloudbox, DialectKind::Portal];
/// Instances of each service.
const INSTANCES: usize = 2;

/// An instance of a service.
pub(crate) struct Instance {
    pub(crate) dialect: DialectKind,
    pub(crate) process: ProductProcess,
}

/// The running programs. Fields are dropped in their order: the folder last.
pub(crate) struct Deployment {
    pub(crate) gateway: ProductProcess,
    pub(crate) instances: Vec<Instance>,
    pub(crate) installation: Installation,
}

/// Whether a command of `stele` works.
#[derive(Clone, Debug)]
pub(crate) struct CliCheck {
    pub(crate) succeeded: bool,
    pub(crate) took: Duration,
    /// The first line of its error output.
    pub(crate) error: String,
}

impl Deployment {
    /// Creates an installation on these stores, with their schema.
    ///
    /// # Errors
    /// If the stores cannot be reached.
    pub(crate) fn install(
        programs: &ReleasePrograms,
        database_url: &str,
        redis_url: &str,
        settings: &[(&str, &str)],
    ) -> Result<Installation> {
        Installation::on_urls(programs, database_url, redis_url, &[SETTINGS, settings].concat())
    }

    /// Starts the instances and the gateway of an installation.
    ///
    /// # Errors
    /// If a program does not become ready; the message contains its log.
    pub(crate) fn start(installation: Installation) -> Result<Self> {
        let mut instances = Vec::new();
        for dialect in DIALECTS {
            for _ in 0..INSTANCES {
                instances.push(Instance { dialect, process: installation.spawn_service(dialect, None, &[])? });
            }
        }
        for instance in &instances {
            instance.process.wait_until_ready(Duration::from_secs(30))?;
        }
        let addresses: Vec<_> =
            instances.iter().map(|instance| (instance.dialect, instance.process.address())).collect();
        // The gateway is ready when all five services are, but serves those that run.
        let gateway = installation.spawn_gateway(&addresses, &[])?;
        gateway.wait_until_alive(Duration::from_secs(30))?;
        Ok(Self { gateway, instances, installation })
    }

    /// The addresses of the instances of `dialect`.
    pub(crate) fn addresses(&self, dialect: DialectKind) -> Vec<SocketAddr> {
        let of_dialect = self.instances.iter().filter(|instance| instance.dialect == dialect);
        of_dialect.map(|instance| instance.process.address()).collect()
    }

    /// Starts a new process in place of an instance that has been stopped or killed, on the same addresses.
    ///
    /// # Errors
    /// If the program cannot be started.
    pub(crate) fn respawn(&mut self, index: usize, extra: &[(&str, &str)]) -> Result<()> {
        let instance = &mut self.instances[index];
        instance.process = self.installation.spawn_service(instance.dialect, Some(&instance.process), extra)?;
        Ok(())
    }

    /// Whether every instance is ready.
    pub(crate) fn is_ready(&self) -> bool {
        self.instances.iter().all(|instance| instance.process.readiness().is_some_and(|(status, _)| status == 200))
    }

    /// Runs `stele` with these arguments.
    ///
    /// # Errors
    /// If the program cannot be started.
    pub(crate) fn check_cli(&self, args: &[&str]) -> Result<CliCheck> {
        let started = Instant::now();
        let mut command = self.installation.command("stele", &[]);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break Some(status);
            }
            if started.elapsed() > CLI_TIMEOUT {
                child.kill()?;
                break None;
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        let output = child.wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let error = match status {
            None => format!("no result in {} s", CLI_TIMEOUT.as_secs()),
            Some(_) => text.lines().last().unwrap_or_default().to_owned(),
        };
        let succeeded = status.is_some_and(|status| status.success());
        Ok(CliCheck { succeeded, took: started.elapsed(), error: if succeeded { String::new() } else { error } })
    }

    /// The logs of all instances, also of those that have ended.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub(crate) fn read_service_logs(&self) -> Result<String> {
        let mut text = String::new();
        for entry in std::fs::read_dir(self.installation.path(""))? {
            let path = entry?.path();
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            if name.starts_with("svc-") && name.ends_with(".log") {
                text += &String::from_utf8_lossy(&std::fs::read(&path)?);
            }
        }
        Ok(text)
    }
}
