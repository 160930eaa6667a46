//! Faults of PostgreSQL servers.

use std::time::Duration;

use stele_bench_kit::{BenchError, Result};
use stele_testkit::servers::{Postgres, Redis, UnresponsiveHost};
use tokio_postgres::NoTls;

use crate::database::{
    accepts_other_user, count_connections, database_url, start_postgres, start_synchronous_standby, stores,
};
use crate::report::RoundReport;
use crate::round::{Harness, Round, RoundOptions, Stores};
use crate::small_disk::SmallDisk;

const SECOND: Duration = Duration::from_secs(1);

/// The first host accepts connections and says nothing.
pub(super) fn first_host_is_silent(harness: &Harness, scenario: &'static str) -> Result<RoundReport> {
    let host = UnresponsiveHost::silent();
    first_host_is_unresponsive(harness, scenario, &host)
}

/// The first host drops packets.
pub(super) fn first_host_drops_packets(harness: &Harness, scenario: &'static str) -> Result<RoundReport> {
    let host = UnresponsiveHost::dropping_packets();
    first_host_is_unresponsive(harness, scenario, &host)
}

/// All programs start although the first host does not respond, and reconnect after the second has restarted.
fn first_host_is_unresponsive(
    harness: &Harness,
    scenario: &'static str,
    host: &UnresponsiveHost,
) -> Result<RoundReport> {
    let (postgres, redis) = (start_postgres(), Redis::start());
    let database_url = database_url(&[host.port(), postgres.port()]);
    let stores = Stores { database_url, ..stores(&[&postgres], redis.url()) };
    let mut round = Round::start(harness, scenario, &stores, RoundOptions::default())?;
    round.check_cli()?;
    round.restart_instance(0)?;
    round.wait(3 * SECOND);
    round.step("the second host restarts");
    postgres.restart();
    round.heal("the second host accepts connections");
    require_cli(&mut round)?;
    round.finish()
}

/// Requires that the command line works, now.
fn require_cli(round: &mut Round<'_>) -> Result<()> {
    round.check_cli()?;
    let works = round.report.cli.last().is_some_and(|check| check.succeeded);
    round.report.require("the command line works", works);
    Ok(())
}

/// The primary hangs (SIGSTOP), and returns after its standby was promoted.
pub(super) fn primary_hangs(harness: &Harness, scenario: &'static str) -> Result<RoundReport> {
    fail_over(harness, scenario, Postgres::pause, Postgres::resume)
}

/// The primary is killed, and restarts after its standby was promoted.
pub(super) fn primary_is_killed(harness: &Harness, scenario: &'static str) -> Result<RoundReport> {
    fail_over(harness, scenario, Postgres::kill, Postgres::restart)
}

/// Fails over to a synchronous standby. The former primary returns unfenced, and must not get connections back.
fn fail_over(
    harness: &Harness,
    scenario: &'static str,
    fail: fn(&Postgres),
    bring_back: fn(&Postgres),
) -> Result<RoundReport> {
    let (primary, redis) = (start_postgres(), Redis::start());
    let standby = start_synchronous_standby(&primary)?;
    let stores = stores(&[&primary, &standby], redis.url());
    let mut round = Round::start(harness, scenario, &stores, RoundOptions::default())?;
    round.step("the primary fails");
    fail(&primary);
    round.wait(SECOND);
    standby.promote();
    round.heal("the standby is promoted");
    round.wait(3 * SECOND);
    require_cli(&mut round)?;
    round.restart_instance(0)?;
    round.wait(5 * SECOND);
    bring_back(&primary);
    round.step("the former primary returns");
    let mut most = 0;
    for _ in 0..10 {
        round.wait(SECOND / 2);
        most = most.max(count_connections(&harness.runtime, &primary)?);
    }
    round.report.require(&format!("the former primary gets no connections ({most})"), most == 0);
    round.finish()
}

/// Commits wait for a standby that is dead.
pub(super) fn synchronous_standby_is_dead(harness: &Harness, scenario: &'static str) -> Result<RoundReport> {
    let (primary, redis) = (start_postgres(), Redis::start());
    let standby = start_synchronous_standby(&primary)?;
    let stores = stores(&[&primary], redis.url());
    let mut round = Round::start(harness, scenario, &stores, RoundOptions::default())?;
    round.require_connection_bound();
    standby.kill();
    round.step("the synchronous standby is killed");
    round.wait(harness.long_fault(30 * SECOND));
    require_cli(&mut round)?;
    let accepted = accepts_other_user(&harness.runtime, &primary);
    round.report.require("another user gets a connection", accepted);
    for index in 0..3 {
        round.restart_instance(index)?;
    }
    round.wait(5 * SECOND);
    standby.restart();
    round.heal("the standby is back");
    round.finish()
}

/// `LOCK TABLE users` blocks every statement on users.
pub(super) fn table_is_locked(harness: &Harness, scenario: &'static str) -> Result<RoundReport> {
    let (postgres, redis) = (start_postgres(), Redis::start());
    let stores = stores(&[&postgres], redis.url());
    let options = RoundOptions { clients: 50, pause: Duration::from_millis(200), ..RoundOptions::default() };
    let mut round = Round::start(harness, scenario, &stores, options)?;
    round.require_connection_bound();
    let duration = harness.long_fault(20 * SECOND);
    let lock = harness.runtime.spawn(lock_users(postgres.port(), duration));
    round.step("the table users is locked");
    round.wait(duration * 3 / 4);
    let accepted = accepts_other_user(&harness.runtime, &postgres);
    round.report.require("another user gets a connection", accepted);
    let lock = harness.runtime.block_on(lock).map_err(|_| BenchError::new("the lock's task panicked"))?;
    lock.map_err(|error| BenchError::new(format!("LOCK TABLE: {error}")))?;
    round.heal("the lock is released");
    require_cli(&mut round)?;
    round.finish()
}

async fn lock_users(port: u16, duration: Duration) -> std::result::Result<(), tokio_postgres::Error> {
    let url = format!("postgres://stele@127.0.0.1:{port}/stele");
    let (client, connection) = tokio_postgres::connect(&url, NoTls).await?;
    let driver = tokio::spawn(connection);
    client.batch_execute("BEGIN; LOCK TABLE users").await?;
    tokio::time::sleep(duration).await;
    client.batch_execute("COMMIT").await?;
    driver.abort();
    Ok(())
}

/// Every process of the server is stopped (SIGSTOP).
pub(super) fn server_is_frozen(harness: &Harness, scenario: &'static str) -> Result<RoundReport> {
    let (postgres, redis) = (start_postgres(), Redis::start());
    let mut round = Round::start(harness, scenario, &stores(&[&postgres], redis.url()), RoundOptions::default())?;
    round.require_connection_bound();
    postgres.pause();
    round.step("PostgreSQL is frozen");
    round.wait(4 * SECOND);
    round.restart_instance_in_outage(0)?;
    round.wait(6 * SECOND);
    postgres.resume();
    round.heal("PostgreSQL continues");
    round.wait(SECOND);
    require_cli(&mut round)?;
    round.finish()
}

/// The file system of the services' database has no free space; the write-ahead log is elsewhere.
pub(super) fn disk_is_full(harness: &Harness, scenario: &'static str) -> Result<RoundReport> {
    let disk = match SmallDisk::mount("postgres") {
        Ok(disk) => disk,
        Err(reason) => return Ok(RoundReport::skipped(scenario, &reason)),
    };
    let (postgres, redis) = (start_postgres(), Redis::start());
    postgres.execute(&format!("CREATE TABLESPACE small LOCATION '{}'", disk.path().display()));
    postgres.execute("ALTER DATABASE stele SET TABLESPACE small");
    let mut round = Round::start(harness, scenario, &stores(&[&postgres], redis.url()), RoundOptions::default())?;
    disk.fill()?;
    round.step("the disk is full");
    round.wait(10 * SECOND);
    require_cli(&mut round)?;
    disk.free()?;
    round.heal("there is space again");
    let result = round.finish();
    // The server has its files there.
    drop(postgres);
    result
}
