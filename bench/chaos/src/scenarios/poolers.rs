//! PgBouncer and HAProxy in front of PostgreSQL.

use std::time::Duration;

use stele_bench_kit::Result;
use stele_testkit::servers::{Haproxy, Pgbouncer, Postgres, Redis};

use crate::database::{self, start_postgres, start_synchronous_standby, stores};
use crate::deployment::Deployment;
use crate::report::RoundReport;
use crate::round::{Harness, Round, RoundOptions, Stores};

const SECOND: Duration = Duration::from_secs(1);

/// Connections of PgBouncer to the server: more than the services take together.
const POOL_SIZE: &str = "90";

fn start_pooler(postgres: &Postgres, mode: &str) -> Pgbouncer {
    // By default, clients are refused for 15 s after the server has refused one connection.
    let settings = [
        ("pool_mode", mode),
        ("default_pool_size", POOL_SIZE),
        ("max_client_conn", "500"),
        ("server_login_retry", "1"),
    ];
    Pgbouncer::start(postgres, &settings)
}

/// The stores with a pooler, which knows only the user `stele`.
fn pooled_stores(postgres: &Postgres, pooler: &Pgbouncer, redis: &Redis) -> Stores {
    let database_url = format!("postgres://stele@127.0.0.1:{}/stele", pooler.port());
    Stores { database_url, user: "stele", ..stores(&[postgres], redis.url()) }
}

/// Session mode: each connection of a service has one of the server.
pub(super) fn pgbouncer_in_session_mode(harness: &Harness, scenario: &'static str) -> Result<RoundReport> {
    let (postgres, redis) = (start_postgres(), Redis::start());
    let pooler = start_pooler(&postgres, "session");
    let mut round =
        Round::start(harness, scenario, &pooled_stores(&postgres, &pooler, &redis), RoundOptions::default())?;
    round.require_connection_bound();
    pooler.pause();
    round.step("PgBouncer is frozen");
    round.wait(5 * SECOND);
    pooler.resume();
    round.step("PgBouncer continues");
    round.wait(5 * SECOND);
    postgres.restart();
    round.step("PostgreSQL has restarted");
    round.wait(SECOND);
    if let Some(line) = pooler.log().lines().find(|line| line.contains(" FATAL ")) {
        // PgBouncer's issue 801: it may end when a client closes the connection of a cancel request. As a service
        // manager does:
        pooler.restart();
        let message = line.split_once(" FATAL ").map_or(line, |(_, message)| message);
        round.report.notes.push(format!("PgBouncer ended by itself ({message}), and was started again"));
    }
    round.heal("PostgreSQL and PgBouncer run");
    round.wait(2 * SECOND);
    round.check_cli()?;
    round.restart_instance(0)?;
    round.finish()
}

/// Transaction mode: works like session mode, or the programs say what to do instead.
pub(super) fn pgbouncer_in_transaction_mode(harness: &Harness, scenario: &'static str) -> Result<RoundReport> {
    let (postgres, redis) = (start_postgres(), Redis::start());
    let pooler = start_pooler(&postgres, "transaction");
    let stores = pooled_stores(&postgres, &pooler, &redis);
    let installed = Deployment::install(&harness.programs, &stores.database_url, &stores.redis_url, &[]);
    let installation = match installed {
        Ok(installation) => installation,
        Err(error) => {
            let mut report = RoundReport::new(scenario);
            let text = error.to_string();
            report.require(&format!("refused in one line that names the mode: {text}"), is_clear_refusal(&text));
            report.notes.push(format!("refused at the start: {text}"));
            return Ok(report);
        }
    };
    let mut round = Round::start_installed(harness, scenario, &stores, installation, RoundOptions::default())?;
    round.wait(5 * SECOND);
    round.restart_instance(0)?;
    round.check_cli()?;
    round.wait(5 * SECOND);
    let mut report = round.finish()?;
    report.require("no request fails", report.requests.failed() == 0);
    Ok(report)
}

/// Whether a message is one line that says that transaction mode is not supported.
fn is_clear_refusal(message: &str) -> bool {
    message.lines().count() == 1 && message.contains("transaction") && message.contains("session")
}

/// HAProxy in front of a primary and its standby, which it uses once the primary fails its checks.
fn start_proxy(primary: &Postgres, standby: &Postgres) -> Haproxy {
    Haproxy::start(&[
        format!("option pgsql-check user {}", database::SERVICE_USER),
        "timeout check 500ms".to_owned(),
        "default-server inter 500ms fall 2 rise 2 on-marked-down shutdown-sessions".to_owned(),
        format!("server primary 127.0.0.1:{} check", primary.port()),
        format!("server standby 127.0.0.1:{} check backup", standby.port()),
    ])
}

/// The primary is killed, its standby promoted.
pub(super) fn haproxy_primary_is_killed(harness: &Harness, scenario: &'static str) -> Result<RoundReport> {
    haproxy_fails_over(harness, scenario, Postgres::kill)
}

/// The primary hangs, its standby is promoted.
pub(super) fn haproxy_primary_is_frozen(harness: &Harness, scenario: &'static str) -> Result<RoundReport> {
    haproxy_fails_over(harness, scenario, Postgres::pause)
}

fn haproxy_fails_over(harness: &Harness, scenario: &'static str, fail: fn(&Postgres)) -> Result<RoundReport> {
    let (primary, redis) = (start_postgres(), Redis::start());
    let standby = start_synchronous_standby(&primary)?;
    let proxy = start_proxy(&primary, &standby);
    let database_url = database::database_url(&[proxy.port()]);
    let stores = Stores { database_url, ..stores(&[&primary, &standby], redis.url()) };
    let mut round = Round::start(harness, scenario, &stores, RoundOptions::default())?;
    round.require_connection_bound();
    round.step("the primary fails");
    fail(&primary);
    round.wait(SECOND);
    standby.promote();
    round.heal("the standby is promoted");
    round.wait(5 * SECOND);
    round.check_cli()?;
    round.restart_instance(0)?;
    round.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_one_line_that_names_both_modes() {
        assert!(is_clear_refusal("PgBouncer is in transaction mode; use pool_mode = session"));
        assert!(!is_clear_refusal("prepared statement \"s0\" does not exist"));
        assert!(!is_clear_refusal("transaction mode\nuse session mode"));
    }
}
