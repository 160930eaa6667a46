//! Whether the servers may evict keys: what is evicted is forgotten, a used proof or a limit among it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{MultipleNodeRoutingInfo, ResponsePolicy, RoutingInfo, SingleNodeRoutingInfo};
use redis::{ErrorKind, RedisResult, from_redis_value};
use tokio::time::timeout;

use super::connection::DriverConnection;

/// How long the answer is waited for.
const RESPONSE_TIMEOUT: Duration = Duration::from_millis(1_500);

/// What was last seen of the servers' `maxmemory-policy`.
#[derive(Default)]
pub(super) struct EvictionPolicy(Mutex<LastReading>);

#[derive(Default)]
enum LastReading {
    /// Nothing yet, which counts as a defect: a check that cannot be made must not pass.
    #[default]
    Unknown,
    /// No fault, or this one.
    Read(Option<String>),
}

impl EvictionPolicy {
    /// What is wrong, if anything is: the fault and its remedy.
    pub(super) fn defect(&self) -> Option<String> {
        match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            LastReading::Unknown => {
                let fault = "Redis's maxmemory-policy could not be read yet: allow INFO on every master, and CLUSTER INFO \
                             on a cluster; every master must answer";
                Some(fault.to_owned())
            }
            LastReading::Read(fault) => fault.clone(),
        }
    }

    /// Whether the policies have been read.
    pub(super) fn has_been_read(&self) -> bool {
        !matches!(&*self.0.lock().unwrap_or_else(PoisonError::into_inner), LastReading::Unknown)
    }

    /// Looks at every server that the connection leads to. `INFO` shows the policy where `CONFIG` is forbidden. What
    /// cannot be learned leaves what was known.
    pub(super) async fn refresh(&self, connection: &mut DriverConnection) {
        let defect = match timeout(RESPONSE_TIMEOUT, read_policies(connection)).await {
            Ok(Ok(policies)) => policies.into_iter().find_map(|(node, policy)| policy_defect(&node, &policy)),
            Ok(Err(error)) => return tracing::warn!(%error, "state store: cannot read maxmemory-policy"),
            Err(_) => return tracing::warn!("state store: cannot read maxmemory-policy: no answer"),
        };
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match (&defect, &*known) {
            (Some(defect), LastReading::Read(Some(before))) if defect == before => {}
            (Some(defect), _) => tracing::error!("state store: {defect}; not ready until it is"),
            (None, LastReading::Read(Some(_))) => tracing::info!("state store: maxmemory-policy is noeviction now"),
            (None, _) => {}
        }
        *known = LastReading::Read(defect);
    }
}

fn policy_defect(node: &str, policy: &str) -> Option<String> {
    let at = if node.is_empty() { String::new() } else { format!(" at {node}") };
    (policy != "noeviction").then(|| {
        format!(
            "Redis{at} has the maxmemory-policy {policy}, so it may forget used proofs, limits and sessions: set it to \
             noeviction"
        )
    })
}

/// The policy of each master, by its address where there are several: replicas do not evict by themselves.
async fn read_policies(connection: &mut DriverConnection) -> RedisResult<Vec<(String, String)>> {
    let mut command = redis::cmd("INFO");
    command.arg("memory");
    let answers: HashMap<String, String> = match connection {
        DriverConnection::SingleServer(one) => HashMap::from([(String::new(), command.query_async(one).await?)]),
        DriverConnection::Cluster(cluster) => {
            let nodes = (MultipleNodeRoutingInfo::AllMasters, Some(ResponsePolicy::Special));
            let answer = cluster.route_command(command, RoutingInfo::MultiNode(nodes)).await?;
            let answers: HashMap<String, String> = from_redis_value(answer)?;
            // The client asks no master that it has never been connected to, and does not say so.
            let masters = count_masters(cluster).await?;
            if masters.is_none_or(|masters| masters > answers.len()) {
                return Err((ErrorKind::ClusterConnectionNotFound, "not every master answers").into());
            }
            answers
        }
    };
    // Every Redis since 2.8 has the line; what has none is not known to keep what it is given.
    let policy = |text: &str| info_field(text, "maxmemory_policy:").unwrap_or("unknown").to_owned();
    Ok(answers.into_iter().map(|(node, text)| (node, policy(&text))).collect())
}

/// How many masters of a cluster have slots, dead ones included.
async fn count_masters(cluster: &mut ClusterConnection) -> RedisResult<Option<usize>> {
    let mut command = redis::cmd("CLUSTER");
    command.arg("INFO");
    let any = RoutingInfo::SingleNode(SingleNodeRoutingInfo::Random);
    let text: String = from_redis_value(cluster.route_command(command, any).await?)?;
    Ok(info_field(&text, "cluster_size:").and_then(|size| size.parse().ok()))
}

/// The value of the line of `text` that begins with `field`.
fn info_field<'a>(text: &'a str, field: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(field))
}
