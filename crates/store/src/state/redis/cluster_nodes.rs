//! Commands to the nodes of a Redis Cluster: a multiplexed connection for each master, and the map of slots to masters.
//!
//! redis-rs's cluster connection reads all slots again after each redirection, queues all calls meanwhile, and can stop
//! for good then; it also repeats calls that a lost node may have executed. So it is used only to read the slots and
//! for commands to all masters. Here a node that does not respond delays only its own calls, and only a call that a
//! node has redirected, and so not executed, is sent again.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redis::aio::{ConnectionLike as _, MultiplexedConnection};
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{RoutingInfo, SingleNodeRoutingInfo};
use redis::{
    Arg, AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind, FromRedisValue, RedisError,
    RedisResult, ServerErrorKind, Value, from_redis_value,
};
use tokio::sync::Mutex as AsyncMutex;

use super::account_buckets::{SLOTS, hash_slot};

/// Redirections that one call follows.
const MAX_REDIRECTIONS: usize = 5;

/// Host and port of a node.
type NodeAddress = Arc<(String, u16)>;

/// The connection to a node; `None` before the first call and after the connection was lost.
type NodeConnection = Arc<AsyncMutex<Option<MultiplexedConnection>>>;

/// The masters of a cluster. Clones share connections and slots.
#[derive(Clone)]
pub(super) struct ClusterNodes(Arc<Shared>);

struct Shared {
    /// How to connect to a node, but for its host and port.
    template: ConnectionInfo,
    config: AsyncConnectionConfig,
    /// The master of each slot.
    masters: Mutex<Vec<Option<NodeAddress>>>,
    connections: Mutex<HashMap<NodeAddress, NodeConnection>>,
}

impl ClusterNodes {
    /// Reads the slots. Nodes are connected to by the first call to each.
    pub(super) async fn connect(
        template: ConnectionInfo,
        config: AsyncConnectionConfig,
        cluster: &mut ClusterConnection,
    ) -> RedisResult<Self> {
        let mut command = redis::cmd("CLUSTER");
        command.arg("SLOTS");
        let random_node = RoutingInfo::SingleNode(SingleNodeRoutingInfo::Random);
        let ranges: Vec<Vec<Value>> = from_redis_value(cluster.route_command(command, random_node).await?)?;
        let mut masters = vec![None; SLOTS];
        for range in ranges {
            let Some((first, last, master)) = parse_slot_range(&range, &template) else { continue };
            for slot in masters.iter_mut().take(last + 1).skip(first) {
                *slot = Some(Arc::clone(&master));
            }
        }
        let masters = Mutex::new(masters);
        Ok(Self(Arc::new(Shared { template, config, masters, connections: Mutex::default() })))
    }

    /// Sends a command that concerns the keys of one slot to the master of the slot, and follows redirections.
    pub(super) async fn query<T: FromRedisValue>(&self, command: &Cmd) -> RedisResult<T> {
        let slot = slot_of(command).ok_or((ErrorKind::Client, "the command has no key"))?;
        let master = self.masters()[usize::from(slot)].clone();
        let mut node = master.ok_or((ErrorKind::ClusterConnectionNotFound, "the slot has no master"))?;
        let mut is_asking = false;
        for redirections in 0.. {
            let mut connection = self.connection(&node).await?;
            let result = if is_asking {
                ask(&mut connection, command).await
            } else {
                command.query_async(&mut connection).await
            };
            let error: RedisError = match result {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let redirected_to = error.redirect_node().and_then(|(address, _)| parse_address(address, &node));
            let Some(target) = redirected_to.filter(|_| redirections < MAX_REDIRECTIONS) else {
                if error.is_io_error() || error.is_unrecoverable_error() {
                    self.forget_connection(&node);
                }
                return Err(error);
            };
            is_asking = error.kind() == ErrorKind::Server(ServerErrorKind::Ask);
            node = target;
            if !is_asking {
                self.masters()[usize::from(slot)] = Some(Arc::clone(&node));
            }
        }
        unreachable!("the loop returns after the last redirection")
    }

    fn masters(&self) -> MutexGuard<'_, Vec<Option<NodeAddress>>> {
        self.0.masters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connections(&self) -> MutexGuard<'_, HashMap<NodeAddress, NodeConnection>> {
        self.0.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection to a node. Connects if there is none; concurrent calls wait for one attempt.
    async fn connection(&self, node: &NodeAddress) -> RedisResult<MultiplexedConnection> {
        let entry = Arc::clone(self.connections().entry(Arc::clone(node)).or_default());
        let mut entry = entry.lock().await;
        if let Some(connection) = &*entry {
            return Ok(connection.clone());
        }
        let client = Client::open(self.connection_info(node))?;
        let connection = client.get_multiplexed_async_connection_with_config(&self.0.config).await?;
        Ok(entry.insert(connection).clone())
    }

    /// How to connect to each master.
    pub(super) fn connection_infos(&self) -> Vec<ConnectionInfo> {
        let masters: HashSet<_> = self.masters().iter().flatten().cloned().collect();
        masters.iter().map(|master| self.connection_info(master)).collect()
    }

    fn connection_info(&self, node: &NodeAddress) -> ConnectionInfo {
        let (host, port) = (node.0.clone(), node.1);
        let address = match self.0.template.addr() {
            ConnectionAddr::TcpTls { .. } => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
            _ => ConnectionAddr::Tcp(host, port),
        };
        self.0.template.clone().set_addr(address)
    }

    fn forget_connection(&self, node: &NodeAddress) {
        self.connections().remove(node);
    }
}

/// Sends a command to the node to which its slot is being moved.
async fn ask<T: FromRedisValue>(connection: &mut MultiplexedConnection, command: &Cmd) -> RedisResult<T> {
    let mut pipeline = redis::pipe();
    pipeline.cmd("ASKING").add_command(command.clone());
    // The reply to the second command only.
    let replies = connection.req_packed_commands(&pipeline, 1, 1).await?;
    let reply = replies.into_iter().next().ok_or((ErrorKind::UnexpectedReturnType, "no reply after ASKING"))?;
    Ok(from_redis_value(reply.extract_error()?)?)
}

/// Parses an element of `CLUSTER SLOTS`: the first and last slot, and the master.
fn parse_slot_range(range: &[Value], template: &ConnectionInfo) -> Option<(usize, usize, NodeAddress)> {
    let [Value::Int(first), Value::Int(last), Value::Array(master), ..] = range else { return None };
    let [host, Value::Int(port), ..] = master.as_slice() else { return None };
    // An unknown host is that of the URL.
    let host: Option<String> = from_redis_value(host.clone()).ok()?;
    let host = host.filter(|host| is_known_host(host)).or_else(|| match template.addr() {
        ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } => Some(host.clone()),
        _ => None,
    });
    let address = Arc::new((host?, u16::try_from(*port).ok()?));
    Some((usize::try_from(*first).ok()?, usize::try_from(*last).ok()?, address))
}

/// Parses the address in a redirection by `node`: `HOST:PORT`. The host is that of `node` if it is empty or unknown
/// (`cluster-preferred-endpoint-type`).
fn parse_address(text: &str, node: &NodeAddress) -> Option<NodeAddress> {
    let (host, port) = text.rsplit_once(':')?;
    let host = if is_known_host(host) { host } else { &node.0 };
    Some(Arc::new((host.to_owned(), port.parse().ok()?)))
}

/// Whether a host that a node sent is an address: a node that does not know its own leaves it empty, or sends `?`.
fn is_known_host(host: &str) -> bool {
    !host.is_empty() && host != "?"
}

/// The slot of a command's first key.
fn slot_of(command: &Cmd) -> Option<u16> {
    let mut args = command.args_iter().filter_map(|arg| match arg {
        Arg::Simple(bytes) => Some(bytes),
        _ => None,
    });
    let name = args.next()?;
    // EVALSHA and EVAL: script, number of keys, first key.
    let is_script = name == b"EVALSHA" || name == b"EVAL";
    let key = if is_script { args.nth(2) } else { args.next() }?;
    Some(hash_slot(hash_tag(key)))
}

/// The part of a key that determines its slot: between the first `{` and the next `}`, unless that is empty.
fn hash_tag(key: &[u8]) -> &[u8] {
    let tag = || {
        let start = key.iter().position(|byte| *byte == b'{')? + 1;
        let length = key[start..].iter().position(|byte| *byte == b'}')?;
        (length > 0).then(|| &key[start..start + length])
    };
    tag().unwrap_or(key)
}

#[cfg(test)]
mod tests {
    use redis::cluster_routing::Slot;

    use super::*;

    #[test]
    fn a_command_goes_to_the_slot_of_its_first_key() {
        for key in ["{stele:17}:birth", "stele:session:0a", "{}x", "a{b}{c}", "{", ""] {
            let mut command = redis::cmd("HGET");
            command.arg(key).arg("field");
            let mut script = redis::cmd("EVALSHA");
            script.arg("sha").arg(1).arg(key).arg("other");
            for command in [command, script] {
                assert_eq!(Slot::new(slot_of(&command).unwrap()), Some(Slot::for_key(key)), "{key}");
            }
        }
    }
}
