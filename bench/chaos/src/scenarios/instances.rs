//! Faults of instances, and what operators do to them.

use std::path::PathBuf;
use std::time::Duration;

use stele_bench_kit::{BenchError, Result};
use stele_testkit::servers::{Redis, execute};

use crate::database::{start_postgres, stores};
use crate::report::RoundReport;
use crate::round::{Harness, Round, RoundOptions};

const SECOND: Duration = Duration::from_secs(1);

/// The clock of one instance is fast (libfaketime). It must not be ready, and no client may reach it.
pub(super) fn clock_is_off(harness: &Harness, scenario: &'static str) -> Result<RoundReport> {
    let Some(library) = find_libfaketime() else {
        return Ok(RoundReport::skipped(scenario, "libfaketime is missing; install Debian's package faketime"));
    };
    let (postgres, redis) = (start_postgres(), Redis::start());
    let mut round = Round::start(harness, scenario, &stores(&[&postgres], redis.url()), RoundOptions::default())?;
    let library = library.display().to_string();
    round.deployment.instances[0].process.kill();
    // The gateway, which checks each instance once a second, does not take the new process for the one before.
    round.wait(2 * SECOND);
    let settings = [("LD_PRELOAD", library.as_str()), ("FAKETIME", "+600"), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")];
    round.deployment.respawn(0, &settings)?;
    round.step("the clock of one instance is 10 minutes fast");
    round.wait(10 * SECOND);
    let readiness = round.deployment.instances[0].process.readiness();
    let (status, reason) = readiness.unwrap_or_default();
    round.step(&format!("its readiness: {status} {reason}"));
    round.report.require("the instance is not ready, because of its clock", status == 503 && reason.contains("clock"));
    round.deployment.instances[0].process.kill();
    round.deployment.respawn(0, &[])?;
    round.heal("the clock is right again");
    let mut report = round.finish()?;
    let stale = report.requests.failures.get("stale").copied().unwrap_or_default();
    report.require(&format!("no login is refused for the clock ({stale})"), stale == 0);
    Ok(report)
}

fn find_libfaketime() -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").ok()?;
    let libraries = folders.flatten().map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
    libraries.into_iter().find(|library| library.exists())
}

/// Every instance is stopped with its drain, and started again, one after the other.
pub(super) fn all_are_rolled(harness: &Harness, scenario: &'static str) -> Result<RoundReport> {
    let (postgres, redis) = (start_postgres(), Redis::start());
    let mut round = Round::start(harness, scenario, &stores(&[&postgres], redis.url()), RoundOptions::default())?;
    roll(&mut round)?;
    require_no_failed_request(round)
}

/// Stops each instance with its drain, and starts it again once it has ended.
fn roll(round: &mut Round<'_>) -> Result<()> {
    for index in 0..round.deployment.instances.len() {
        round.step(&format!("{} is drained and replaced", round.deployment.instances[index].process.name()));
        round.deployment.instances[index].process.stop();
        round.deployment.respawn(index, &[])?;
        round.deployment.instances[index].process.wait_until_ready(30 * SECOND)?;
        // The gateway checks each instance once a second.
        round.wait(2 * SECOND);
    }
    round.heal("all are replaced");
    Ok(())
}

fn require_no_failed_request(round: Round<'_>) -> Result<RoundReport> {
    let mut report = round.finish()?;
    report.require("no request fails", report.requests.failed() == 0);
    Ok(report)
}

/// A newer version has migrated: with one more table, one more column, and its version in the journal. Every instance of
/// this version restarts.
pub(super) fn schema_is_newer(harness: &Harness, scenario: &'static str) -> Result<RoundReport> {
    let (postgres, redis) = (start_postgres(), Redis::start());
    let mut round = Round::start(harness, scenario, &stores(&[&postgres], redis.url()), RoundOptions::default())?;
    let url = format!("postgres://stele@127.0.0.1:{}/stele", postgres.port());
    execute(
        &url,
        "ALTER TABLE users ADD COLUMN of_the_next_version TEXT; CREATE TABLE next_version (); \
         INSERT INTO __diesel_schema_migrations (version) SELECT lpad((max(version)::int + 1)::text, 4, '0') \
         FROM __diesel_schema_migrations",
    );
    round.step("a newer version has migrated the schema");
    round.wait(2 * SECOND);
    round.check_cli()?;
    roll(&mut round)?;
    require_no_failed_request(round)
}

/// One instance is killed; the other serves alone.
pub(super) fn one_is_killed(harness: &Harness, scenario: &'static str) -> Result<RoundReport> {
    let (postgres, redis) = (start_postgres(), Redis::start());
    let mut round = Round::start(harness, scenario, &stores(&[&postgres], redis.url()), RoundOptions::default())?;
    for index in [0, round.deployment.instances.len() - 1] {
        round.step(&format!("{} is killed", round.deployment.instances[index].process.name()));
        round.deployment.instances[index].process.kill();
        round.wait(3 * SECOND);
        round.deployment.respawn(index, &[])?;
        let ready = round.deployment.instances[index].process.wait_until_ready(30 * SECOND);
        ready.map_err(|error| BenchError::new(format!("after a kill: {error}")))?;
    }
    round.heal("the killed instances are back");
    round.finish()
}
