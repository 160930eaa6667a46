//! Real PostgreSQL, PgBouncer, MariaDB, Redis, HAProxy, nginx, Caddy and Envoy servers for tests. Private servers run on
//! free ports of loopback in temporary folders, and stop when the value is dropped or, at the latest, when the test process ends. On a shared
//! server, each test gets a schema or key prefix that no other test uses.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::missing_panics_doc, reason = "a test's set-up may panic")]

mod haproxy;
mod mariadb;
mod pgbouncer;
mod postgres;
mod process;
mod proxy;
mod redis;
mod redis_cluster;
mod reverse_proxy;
mod unresponsive_host;

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use stele_core::random::{OsRandom, Random as _};

pub use haproxy::Haproxy;
pub use mariadb::Mariadb;
pub use pgbouncer::Pgbouncer;
pub use postgres::{Postgres, execute, query_text};
pub use proxy::Proxy;
pub use redis::{Redis, RedisMode};
pub use redis_cluster::RedisCluster;
pub use reverse_proxy::{ProxyProgram, ReverseProxy};
pub use unresponsive_host::UnresponsiveHost;

/// The URL of an empty database for one test: on the server that `STELE_TEST_DATABASE_URL` names, otherwise on a
/// private server of this process.
pub fn database_url() -> String {
    static PRIVATE: OnceLock<Postgres> = OnceLock::new();
    match env_setting("STELE_TEST_DATABASE_URL") {
        Some(url) => postgres::with_fresh_schema(&url),
        None => PRIVATE.get_or_init(Postgres::start).new_database_url(),
    }
}

/// Whether PostgreSQL and Redis are available to tests: servers that the settings name, or programs to start private
/// ones. With `STELE_TEST_SERVERS=required` (as in `scripts/test`) always true, so that missing servers are a failure;
/// with `none` always false.
pub fn servers_available() -> bool {
    match env_setting("STELE_TEST_SERVERS").as_deref() {
        Some("required") => true,
        Some("none") => false,
        Some(other) => panic!("STELE_TEST_SERVERS={other}: required or none"),
        None => {
            let postgres =
                env_setting("STELE_TEST_DATABASE_URL").is_some() || postgres::find_program("initdb").is_some();
            let redis =
                env_setting("STELE_TEST_REDIS_URL").is_some() || process::find_program("redis-server", &[]).is_some();
            postgres && redis
        }
    }
}

/// Whether services are tested on PostgreSQL and Redis instead of embedded stores: `STELE_TEST_STORES=servers`.
pub fn server_stores_requested() -> bool {
    match env_setting("STELE_TEST_STORES").as_deref() {
        None | Some("embedded") => false,
        Some("servers") => true,
        Some(other) => panic!("STELE_TEST_STORES={other}: embedded or servers"),
    }
}

/// Settings for stores on PostgreSQL and Redis that only one test uses.
pub fn store_settings() -> [(&'static str, String); 2] {
    [("STELE_DATABASE_URL", database_url()), ("STELE_REDIS_URL", redis_url())]
}

/// The URL of a Redis with a key prefix for one test: on the server that `STELE_TEST_REDIS_URL` names, otherwise on a
/// private server of this process.
pub fn redis_url() -> String {
    static PRIVATE: OnceLock<Redis> = OnceLock::new();
    let base = env_setting("STELE_TEST_REDIS_URL").unwrap_or_else(|| PRIVATE.get_or_init(Redis::start).url());
    with_fresh_prefix(&base)
}

/// As [`redis_url`], on a private Redis Cluster of three masters.
pub fn redis_cluster_url() -> String {
    static PRIVATE: OnceLock<RedisCluster> = OnceLock::new();
    with_fresh_prefix(&PRIVATE.get_or_init(|| RedisCluster::start(3, 0)).url())
}

fn with_fresh_prefix(url: &str) -> String {
    format!("{url}{}prefix={}", query_separator(url), OsRandom.hex128())
}

/// The separator before one more query parameter of `url`.
fn query_separator(url: &str) -> char {
    if url.contains('?') { '&' } else { '?' }
}

fn env_setting(name: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "the tests have no configuration")]
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Polls `done` every 3 ms for up to 10 s; returns whether it became true.
pub fn eventually(mut done: impl FnMut() -> bool) -> bool {
    let started = Instant::now();
    while !done() {
        if started.elapsed() > Duration::from_secs(10) {
            return false;
        }
        std::thread::sleep(Duration::from_millis(3));
    }
    true
}
