//! PostgreSQL servers of the scenarios: 100 connections, a user of the services who is no superuser, and another user.

use stele_bench_kit::{BenchError, Result};
use stele_testkit::servers::Postgres;
use tokio::runtime::Runtime;
use tokio_postgres::NoTls;

use crate::round::Stores;

/// The services' user.
pub(crate) const SERVICE_USER: &str = "app";
/// Connections that a server accepts, three of them from superusers only.
const MAX_CONNECTIONS: u16 = 100;
/// The longest that another user waits for a connection.
const CONNECT_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);

/// Starts a server with an empty database for the services. A commit waits for the standby, once there is one.
pub(crate) fn start_postgres() -> Postgres {
    let postgres = Postgres::start();
    postgres.write_file(
        "postgresql.auto.conf",
        // What is not synced survives the end of the process, but not of the machine.
        &format!("fsync = off\nfull_page_writes = off\nmax_connections = {MAX_CONNECTIONS}\n"),
    );
    postgres.restart();
    postgres.execute("CREATE ROLE app LOGIN");
    postgres.execute("CREATE ROLE other LOGIN");
    postgres.execute("CREATE DATABASE stele OWNER app");
    postgres
}

/// Starts a standby for which the primary's commits wait.
pub(crate) fn start_synchronous_standby(primary: &Postgres) -> Result<Postgres> {
    let standby = primary.start_standby();
    // After the standby was copied: it must not wait for another one when it is promoted.
    primary.execute("ALTER SYSTEM SET synchronous_standby_names = '*'");
    primary.execute("SELECT pg_reload_conf()");
    let is_synchronous = || {
        let sql = "DO $$ BEGIN ASSERT EXISTS (SELECT FROM pg_stat_replication WHERE sync_state = 'sync'); END $$";
        try_execute(&primary.default_database_url(), sql).is_ok()
    };
    if stele_testkit::servers::eventually(is_synchronous) {
        Ok(standby)
    } else {
        Err(BenchError::new("the standby does not become synchronous"))
    }
}

/// The stores with these PostgreSQL servers, in the order of `STELE_DATABASE_URL`.
pub(crate) fn stores(servers: &[&Postgres], redis_url: String) -> Stores {
    let ports: Vec<_> = servers.iter().map(|server| server.port()).collect();
    let admin_urls = servers.iter().map(|server| server.default_database_url()).collect();
    Stores { database_url: database_url(&ports), redis_url, admin_urls, user: SERVICE_USER }
}

/// The services' URL of a database on the writable one of the servers at these ports.
pub(crate) fn database_url(ports: &[u16]) -> String {
    let hosts: Vec<_> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    let attributes = if ports.len() > 1 { "?target_session_attrs=read-write" } else { "" };
    format!("postgres://{SERVICE_USER}@{}/stele{attributes}", hosts.join(","))
}

/// Executes SQL in a runtime of its own.
fn try_execute(url: &str, sql: &str) -> std::result::Result<(), tokio_postgres::Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = runtime else { return Ok(()) };
    runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
        let driver = tokio::spawn(connection);
        let result = client.batch_execute(sql).await;
        driver.abort();
        result
    })
}

/// Whether another user of the server gets a connection.
pub(crate) fn accepts_other_user(runtime: &Runtime, postgres: &Postgres) -> bool {
    let url = format!("postgres://other@127.0.0.1:{}/postgres", postgres.port());
    runtime.block_on(async {
        let connect = async { tokio_postgres::connect(&url, NoTls).await.is_ok() };
        tokio::time::timeout(CONNECT_TIMEOUT, connect).await.unwrap_or(false)
    })
}

/// The services' connections at a server.
pub(crate) fn count_connections(runtime: &Runtime, postgres: &Postgres) -> Result<i64> {
    let url = postgres.default_database_url();
    let failed = |error: tokio_postgres::Error| BenchError::new(format!("counting connections: {error}"));
    runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await.map_err(failed)?;
        let driver = tokio::spawn(connection);
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE usename = $1";
        let row = client.query_one(sql, &[&SERVICE_USER]).await.map_err(failed)?;
        driver.abort();
        Ok(row.get(0))
    })
}
