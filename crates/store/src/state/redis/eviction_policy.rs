//! Check of the servers' `maxmemory-policy`: an eviction would drop used proofs (replay protection) and rate limits.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{MultipleNodeRoutingInfo, ResponsePolicy, RoutingInfo, SingleNodeRoutingInfo};
use redis::{ErrorKind, RedisResult, from_redis_value};
use tokio::time::timeout;

use super::driver_connection::DriverConnection;

/// Timeout of one check.
const CHECK_TIMEOUT: Duration = Duration::from_millis(1_500);

/// Time between two log lines about a policy that cannot be read. Each worker thread reads it after each reconnect.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// The last known `maxmemory-policy` of the servers.
#[derive(Default)]
pub(super) struct EvictionPolicy {
    last_reading: Mutex<LastReading>,
    /// When it was last logged that the policy cannot be read.
    failure_logged: Mutex<Option<Instant>>,
}

#[derive(Default)]
enum LastReading {
    /// Never read. Counts as a defect (fail closed).
    #[default]
    Unknown,
    /// Read. The policy has this defect, or none.
    Read(Option<String>),
}

impl EvictionPolicy {
    /// The defect, if any, as a message with the remedy.
    pub(super) fn defect(&self) -> Option<String> {
        match &*self.last_reading() {
            LastReading::Unknown => {
                let defect = "Redis's maxmemory-policy could not be read yet: allow INFO on every master, and \
                              CLUSTER INFO on a cluster; every master must be reachable";
                Some(defect.to_owned())
            }
            LastReading::Read(defect) => defect.clone(),
        }
    }

    /// Whether the policies have been read.
    pub(super) fn has_been_read(&self) -> bool {
        !matches!(&*self.last_reading(), LastReading::Unknown)
    }

    /// Reads the policy of every master of the connection, with `INFO`, because servers may forbid `CONFIG`. A failure
    /// leaves the last known policy in force.
    pub(super) async fn refresh(&self, connection: &mut DriverConnection) {
        let defect = match timeout(CHECK_TIMEOUT, read_policies(connection)).await {
            Ok(Ok(policies)) => policies.into_iter().find_map(|(node, policy)| policy_defect(&node, &policy)),
            Ok(Err(error)) => return self.log_failure(&error.to_string()),
            Err(_) => return self.log_failure("timeout"),
        };
        let mut last_reading = self.last_reading();
        match (&defect, &*last_reading) {
            (Some(defect), LastReading::Read(Some(previous))) if defect == previous => {}
            (Some(defect), _) => {
                tracing::error!("state store: {defect}; this instance is not ready until the policy is corrected");
            }
            (None, LastReading::Read(Some(_))) => tracing::info!("state store: maxmemory-policy is noeviction now"),
            (None, _) => {}
        }
        *last_reading = LastReading::Read(defect);
    }

    /// Logs a failure to read the policy, at most once in [`LOG_INTERVAL`].
    fn log_failure(&self, cause: &str) {
        let mut logged = self.failure_logged.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.is_none_or(|at| at.elapsed() >= LOG_INTERVAL) {
            *logged = Some(Instant::now());
            tracing::warn!(cause, "state store: cannot read maxmemory-policy");
        }
    }

    fn last_reading(&self) -> MutexGuard<'_, LastReading> {
        self.last_reading.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn policy_defect(node: &str, policy: &str) -> Option<String> {
    let location = if node.is_empty() { String::new() } else { format!(" at {node}") };
    (policy != "noeviction").then(|| {
        format!(
            "Redis{location} has the maxmemory-policy {policy}, so it may evict used proofs, rate limits and sessions: \
             set it to noeviction"
        )
    })
}

/// The policy of each master, with its address on a cluster. Replicas do not evict on their own.
async fn read_policies(connection: &mut DriverConnection) -> RedisResult<Vec<(String, String)>> {
    let mut command = redis::cmd("INFO");
    command.arg("memory");
    let replies: HashMap<String, String> = match connection {
        DriverConnection::SingleServer(connection) => {
            HashMap::from([(String::new(), command.query_async(connection).await?)])
        }
        DriverConnection::Cluster { all_masters: cluster, .. } => {
            let nodes = (MultipleNodeRoutingInfo::AllMasters, Some(ResponsePolicy::Special));
            let reply = cluster.route_command(command, RoutingInfo::MultiNode(nodes)).await?;
            let replies: HashMap<String, String> = from_redis_value(reply)?;
            // The client silently skips a master that it has never been connected to.
            let masters = count_masters(cluster).await?;
            if masters.is_none_or(|masters| masters > replies.len()) {
                return Err((ErrorKind::ClusterConnectionNotFound, "not every master replied").into());
            }
            replies
        }
    };
    // Every Redis since 2.8 reports the policy. A server that does not report it has the policy `unknown`, a defect.
    let parse_policy = |text: &str| info_field(text, "maxmemory_policy:").unwrap_or("unknown").to_owned();
    Ok(replies.into_iter().map(|(node, text)| (node, parse_policy(&text))).collect())
}

/// Number of masters of a cluster that have slots, including unreachable ones.
async fn count_masters(cluster: &mut ClusterConnection) -> RedisResult<Option<usize>> {
    let mut command = redis::cmd("CLUSTER");
    command.arg("INFO");
    let random_node = RoutingInfo::SingleNode(SingleNodeRoutingInfo::Random);
    let text: String = from_redis_value(cluster.route_command(command, random_node).await?)?;
    Ok(info_field(&text, "cluster_size:").and_then(|size| size.parse().ok()))
}

/// The value of a field in a reply to `INFO`. `field` includes the colon.
fn info_field<'a>(text: &'a str, field: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(field))
}
