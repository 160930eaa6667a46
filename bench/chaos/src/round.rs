//! One round of a scenario: the services under load, a fault, its end, and the check of the ledger.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use stele_bench_kit::{DialectKind, Installation, ReleasePrograms, Result};
use tokio::runtime::Runtime;

use crate::deployment::{CONNECTIONS, Deployment};
use crate::ledger::{Violation, ViolationKind};
use crate::load::{Load, LoadOptions};
use crate::monitor::Monitor;
use crate::outbox::Outbox;
use crate::report::{ClassifiedWrite, RestartOutcome, RoundReport};

/// The phone of a user that exists in every round: the first one of the first client.
pub(crate) const FIRST_PHONE: &str = "13800000001";
/// The text in a service's log for a write whose outcome it does not know.
const UNKNOWN_OUTCOME: &str = "commit outcome unknown";
/// Time under load before a fault.
const STEADY_TIME: Duration = Duration::from_secs(3);
/// Time under load after a fault.
const RECOVERY_TIME: Duration = Duration::from_secs(5);
/// The longest that instances may take to be ready after a fault.
const READY_TIMEOUT: Duration = Duration::from_secs(30);

impl Harness {
    /// The duration of a fault, at most 15 s if the run is to be quick.
    pub(crate) fn long_fault(&self, duration: Duration) -> Duration {
        if self.quick { duration.min(Duration::from_secs(15)) } else { duration }
    }
}

/// What all rounds share.
pub(crate) struct Harness {
    pub(crate) programs: ReleasePrograms,
    pub(crate) runtime: Runtime,
    /// Whether long faults are shortened.
    pub(crate) quick: bool,
    /// Where the logs of failed rounds are kept.
    pub(crate) logs: Option<PathBuf>,
}

/// The stores of a round.
pub(crate) struct Stores {
    pub(crate) database_url: String,
    pub(crate) redis_url: String,
    /// URLs of a superuser at each PostgreSQL server, to count connections.
    pub(crate) admin_urls: Vec<String>,
    /// The user of `database_url`.
    pub(crate) user: &'static str,
}

/// What the documents promise about sessions in this scenario. Passwords, proofs and codes are always protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionPromise {
    /// An opened session lives, and an ended one stays dead.
    Kept,
    /// Redis may lose the last changes: sessions may die, or live again after a logout.
    MayBeLost,
}

/// How a round is run.
#[derive(Clone, Copy)]
pub(crate) struct RoundOptions<'a> {
    pub(crate) sessions: SessionPromise,
    pub(crate) clients: usize,
    pub(crate) pause: Duration,
    pub(crate) settings: &'a [(&'a str, &'a str)],
}

impl Default for RoundOptions<'_> {
    fn default() -> Self {
        Self { sessions: SessionPromise::Kept, clients: 8, pause: Duration::from_millis(30), settings: &[] }
    }
}

/// Whether an instance that is restarted must start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MustStart {
    Yes,
    No,
}

/// A running round.
pub(crate) struct Round<'a> {
    harness: &'a Harness,
    load: Load,
    monitor: Monitor,
    sessions: SessionPromise,
    pub(crate) deployment: Deployment,
    pub(crate) report: RoundReport,
    /// Instances that were restarted during the fault.
    restarted: Vec<(usize, MustStart)>,
    healed: Option<Instant>,
}

impl<'a> Round<'a> {
    /// Starts the services on `stores`, and the clients, which work for some seconds.
    ///
    /// # Errors
    /// If a program does not start, or a client cannot register its users.
    pub(crate) fn start(
        harness: &'a Harness,
        scenario: &'static str,
        stores: &Stores,
        options: RoundOptions<'_>,
    ) -> Result<Self> {
        let installation =
            Deployment::install(&harness.programs, &stores.database_url, &stores.redis_url, options.settings)?;
        Self::start_installed(harness, scenario, stores, installation, options)
    }

    /// As [`Round::start`], with an existing installation.
    ///
    /// # Errors
    /// As [`Round::start`].
    pub(crate) fn start_installed(
        harness: &'a Harness,
        scenario: &'static str,
        stores: &Stores,
        installation: Installation,
        options: RoundOptions<'_>,
    ) -> Result<Self> {
        let deployment = Deployment::start(installation)?;
        let addresses: Vec<_> = deployment.instances.iter().map(|instance| instance.process.address()).collect();
        let load_options = LoadOptions {
            gateway: deployment.gateway.address(),
            cloudbox: deployment.addresses(DialectKind::Cloudbox),
            outbox: Arc::new(Outbox::new(deployment.installation.data_folder().join("outbox.jsonl"))),
            clients: options.clients,
            pause: options.pause,
        };
        let load = Load::start(&harness.runtime, &load_options)?;
        let monitor = Monitor::start(&harness.runtime, &stores.admin_urls, stores.user, &addresses);
        std::thread::sleep(STEADY_TIME);
        let (report, sessions) = (RoundReport::new(scenario), options.sessions);
        Ok(Self { harness, load, monitor, sessions, deployment, report, restarted: Vec::new(), healed: None })
    }

    /// Requires that the services take no more connections than documented.
    pub(crate) fn require_connection_bound(&mut self) {
        self.report.connection_bound = Some(CONNECTIONS * self.deployment.instances.len() as u64);
    }

    /// Reports a step, with the time since the start.
    pub(crate) fn step(&self, what: &str) {
        eprintln!("    {:5.1} s  {what}", self.load.started.elapsed().as_secs_f64());
    }

    /// Lets the fault, or the recovery, last.
    pub(crate) fn wait(&mut self, time: Duration) {
        let started = Instant::now();
        while started.elapsed() < time {
            self.note_readiness();
            std::thread::sleep(Duration::from_millis(20).min(time));
        }
    }

    /// Records the first time after the fault at which every instance is ready.
    fn note_readiness(&mut self) {
        if let Some(healed) = self.healed
            && self.report.ready_after.is_none()
            && self.monitor.all_ready()
        {
            self.report.ready_after = Some(healed.elapsed());
            self.step("every instance is ready");
        }
    }

    /// Runs a command of `stele` that reads the user store.
    ///
    /// # Errors
    /// If the program cannot be started.
    pub(crate) fn check_cli(&mut self) -> Result<()> {
        let check = self.deployment.check_cli(&["user", "show", FIRST_PHONE])?;
        let result = if check.succeeded { "works" } else { &check.error };
        self.step(&format!("stele user show, {:.1} s: {result}", check.took.as_secs_f64()));
        self.report.cli.push(check);
        Ok(())
    }

    /// Kills an instance and starts it again, which must succeed.
    ///
    /// # Errors
    /// If the program cannot be started.
    pub(crate) fn restart_instance(&mut self, index: usize) -> Result<()> {
        self.restart(index, MustStart::Yes)
    }

    /// As [`Round::restart_instance`] while a store does not respond at all: the program may end, and the service manager
    /// starts it again.
    ///
    /// # Errors
    /// If the program cannot be started.
    pub(crate) fn restart_instance_in_outage(&mut self, index: usize) -> Result<()> {
        self.restart(index, MustStart::No)
    }

    fn restart(&mut self, index: usize, must_start: MustStart) -> Result<()> {
        // Connections of the killed process may stay for a while: counted until now.
        self.report.max_connections = self.report.max_connections.max(self.monitor.max_connections());
        self.step(&format!("{} is restarted", self.deployment.instances[index].process.name()));
        self.deployment.instances[index].process.kill();
        self.deployment.respawn(index, &[])?;
        self.restarted.push((index, must_start));
        Ok(())
    }

    /// The fault has ended: readiness is measured from now on.
    pub(crate) fn heal(&mut self, what: &str) {
        self.step(what);
        self.healed = Some(Instant::now());
    }

    /// Waits until the services have recovered, lets the clients work on, and checks the ledger.
    ///
    /// # Errors
    /// If a program or a client has failed to run at all.
    pub(crate) fn finish(mut self) -> Result<RoundReport> {
        if self.restarted.is_empty() {
            self.report.max_connections = self.monitor.max_connections();
        }
        self.settle_restarts()?;
        self.wait_until_ready();
        self.wait(RECOVERY_TIME);
        self.report.reasons = self.monitor.reasons();
        drop(self.monitor);
        let clients = self.load.stop_and_check(&self.harness.runtime)?;
        let mut report = self.report;
        let logs = self.deployment.read_service_logs()?;
        report.require("no panic", !logs.contains("panicked at"));
        let mut requests = Vec::new();
        for client in clients {
            report.answered.add(&client.answered);
            report.unchecked += client.unchecked;
            requests.push(client.requests);
            for violation in client.violations {
                add_violation(&mut report, violation, self.sessions);
            }
            report.unknown_writes.extend(client.unknown_writes.into_iter().map(|write| {
                let is_logged = write.request_id.as_ref().is_some_and(|id| is_logged(&logs, id));
                ClassifiedWrite { write, is_logged }
            }));
        }
        report.requests = crate::requests::RequestSummary::of_clients(&requests);
        report.require("the ledger could be checked", report.unchecked == 0);
        if let Some(bound) = report.connection_bound {
            let (most, what) = (report.max_connections, "backends within the documented bound");
            report.require(&format!("{what}: {most} of {bound}"), most <= bound);
        }
        if let Some(folder) = &self.harness.logs {
            keep_logs(&self.deployment.installation.path(""), folder, report.scenario)?;
        }
        Ok(report)
    }

    /// Records which restarted instances run, and starts the others again, as a service manager does.
    fn settle_restarts(&mut self) -> Result<()> {
        for (index, must_start) in std::mem::take(&mut self.restarted) {
            let process = &self.deployment.instances[index].process;
            if process.is_running() {
                self.report.restarts.push(RestartOutcome::Started);
                continue;
            }
            let line = process.read_log().lines().last().unwrap_or_default().to_owned();
            self.step(&format!("{} has ended: {line}", process.name()));
            self.report.require("restarted instances start", must_start == MustStart::No);
            self.report.restarts.push(RestartOutcome::Exited(line));
            self.deployment.respawn(index, &[])?;
        }
        Ok(())
    }

    fn wait_until_ready(&mut self) {
        let started = Instant::now();
        while !self.deployment.is_ready() {
            if started.elapsed() > READY_TIMEOUT {
                self.report.require("every instance is ready 30 s after the fault", false);
                return;
            }
            self.wait(Duration::from_millis(20));
        }
    }
}

fn add_violation(report: &mut RoundReport, violation: Violation, sessions: SessionPromise) {
    let is_announced = match violation.kind {
        ViolationKind::SessionLost | ViolationKind::EndedSessionAlive => sessions == SessionPromise::MayBeLost,
        _ => false,
    };
    if is_announced {
        *report.announced.entry(violation.kind.name()).or_default() += 1;
    } else {
        report.violations.push(violation);
    }
}

/// Whether a line with this request's id says that the outcome is unknown.
fn is_logged(logs: &str, request_id: &str) -> bool {
    logs.lines().any(|line| line.contains(UNKNOWN_OUTCOME) && line.contains(request_id))
}

/// Copies the logs of a round to a folder of their own.
fn keep_logs(from: &Path, to: &Path, scenario: &str) -> Result<()> {
    let number = (1..).find(|number| !to.join(format!("{scenario}-{number}")).exists()).unwrap_or_default();
    let folder = to.join(format!("{scenario}-{number}"));
    std::fs::create_dir_all(&folder)?;
    for entry in std::fs::read_dir(from)? {
        let path = entry?.path();
        if let (Some(name), true) = (path.file_name(), path.extension().is_some_and(|extension| extension == "log")) {
            std::fs::copy(&path, folder.join(name))?;
        }
    }
    Ok(())
}
