//! Samples during a round: the connections of the services at each PostgreSQL server, and the readiness of instances.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use stele_bench_kit::{Request, http};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio_postgres::NoTls;

/// Time between two samples.
const INTERVAL: Duration = Duration::from_millis(100);
/// The longest that a sample may take.
const TIMEOUT: Duration = Duration::from_secs(3);

/// What `/readyz` of the instances says.
#[derive(Default)]
struct Readiness {
    /// The instances that were not ready at their last sample.
    not_ready: BTreeSet<SocketAddr>,
    /// All reasons so far.
    reasons: BTreeSet<String>,
}

/// Background tasks that end when it is dropped.
pub(crate) struct Monitor {
    max_connections: Arc<AtomicU64>,
    readiness: Arc<Mutex<Readiness>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Monitor {
    /// Starts sampling the connections of `user` at the servers with these URLs of a superuser, and the readiness of
    /// `instances`.
    pub(crate) fn start(runtime: &Runtime, database_urls: &[String], user: &str, instances: &[SocketAddr]) -> Self {
        let (max_connections, readiness) = (Arc::new(AtomicU64::new(0)), Arc::default());
        let mut tasks = Vec::new();
        for url in database_urls {
            tasks.push(runtime.spawn(sample_connections(url.clone(), user.to_owned(), Arc::clone(&max_connections))));
        }
        for address in instances {
            tasks.push(runtime.spawn(sample_readiness(*address, Arc::clone(&readiness))));
        }
        Self { max_connections, readiness, tasks }
    }

    /// The most connections that one server had.
    pub(crate) fn max_connections(&self) -> u64 {
        self.max_connections.load(Ordering::Relaxed)
    }

    /// The reasons for which instances were not ready.
    pub(crate) fn reasons(&self) -> Vec<String> {
        self.readiness.lock().unwrap_or_else(PoisonError::into_inner).reasons.iter().cloned().collect()
    }

    /// Whether every instance was ready at its last sample.
    pub(crate) fn all_ready(&self) -> bool {
        self.readiness.lock().unwrap_or_else(PoisonError::into_inner).not_ready.is_empty()
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Samples over one connection as long as it works, so that a server without free connections is still observed.
async fn sample_connections(url: String, user: String, max: Arc<AtomicU64>) {
    loop {
        if let Ok(Ok((client, connection))) = tokio::time::timeout(TIMEOUT, tokio_postgres::connect(&url, NoTls)).await
        {
            let driver = tokio::spawn(connection);
            let sql = "SELECT count(*) FROM pg_stat_activity WHERE usename = $1 AND pid <> pg_backend_pid()";
            while let Ok(Ok(row)) = tokio::time::timeout(TIMEOUT, client.query_one(sql, &[&user])).await {
                max.fetch_max(u64::try_from(row.get::<_, i64>(0)).unwrap_or_default(), Ordering::Relaxed);
                tokio::time::sleep(INTERVAL).await;
            }
            driver.abort();
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

async fn sample_readiness(address: SocketAddr, readiness: Arc<Mutex<Readiness>>) {
    let request = Request::get("/readyz").to_bytes();
    loop {
        let response = http::request_once(address, &request, TIMEOUT).await;
        {
            let mut readiness = readiness.lock().unwrap_or_else(PoisonError::into_inner);
            match response {
                Ok(response) if response.status == 200 => {
                    readiness.not_ready.remove(&address);
                }
                Ok(response) => {
                    readiness.not_ready.insert(address);
                    readiness.reasons.insert(reason(&response.text()));
                }
                Err(_) => {
                    readiness.not_ready.insert(address);
                }
            }
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// The reason in a body of `/readyz`.
fn reason(body: &str) -> String {
    body.trim().trim_start_matches("not ready: ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_what_follows_not_ready() {
        assert_eq!(reason("not ready: the clock is off\n"), "the clock is off");
    }
}
