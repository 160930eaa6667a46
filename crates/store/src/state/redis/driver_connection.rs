//! A connection of redis-rs to a single server or to a cluster, and the classification of its errors.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::cluster_async::ClusterConnection;
use redis::{Cmd, ErrorKind, FromRedisValue, RedisError, RedisResult, ServerErrorKind};
use stele_core::Error;

use super::cluster_nodes::ClusterNodes;
use super::script_call::{ExpectedServer, ScriptCall};

/// Pause before a call on a cluster is repeated whose slot is being moved to another node.
const MIGRATION_RETRY_DELAY: Duration = Duration::from_millis(5);

/// A connection of the client library that concurrent calls share.
#[derive(Clone)]
pub(super) enum DriverConnection {
    /// To one server.
    SingleServer(MultiplexedConnection),
    /// To the nodes of a cluster.
    Cluster {
        /// For commands to all masters.
        all_masters: ClusterConnection,
        /// For commands that concern keys.
        nodes: ClusterNodes,
    },
}

impl DriverConnection {
    pub(super) async fn query<T: FromRedisValue>(&mut self, command: &Cmd) -> RedisResult<T> {
        match self {
            Self::SingleServer(connection) => command.query_async(connection).await,
            Self::Cluster { nodes, .. } => nodes.query(command).await,
        }
    }

    /// Runs a script. Repeats a call that a cluster has rejected because its slot is being moved, until the caller's
    /// timeout: nothing was executed.
    pub(super) async fn run_script<T: FromRedisValue>(
        &mut self,
        call: &ScriptCall,
        server: &ExpectedServer<'_>,
    ) -> RedisResult<T> {
        loop {
            match self.run_script_once(call, server).await {
                Err(error) if is_slot_moving(&error) => tokio::time::sleep(MIGRATION_RETRY_DELAY).await,
                result => return result,
            }
        }
    }

    async fn run_script_once<T: FromRedisValue>(
        &mut self,
        call: &ScriptCall,
        server: &ExpectedServer<'_>,
    ) -> RedisResult<T> {
        match self.query(&call.evalsha_command(server)).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                self.query(&call.eval_command(server)).await
            }
            result => result,
        }
    }
}

/// Whether this error requires a new connection: the connection is closed or timed out, its server or cluster rejects
/// calls after a failover (`READONLY`, `MASTERDOWN`, `CLUSTERDOWN`), a node of the cluster has no connection, or the
/// connection leads to another server than it was made to (`new_server_error` in `common.lua`).
pub(super) fn is_connection_lost(error: &RedisError) -> bool {
    error.is_unrecoverable_error()
        || error.is_timeout()
        || error.code() == Some("NEWSERVER")
        || matches!(
            error.kind(),
            ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown | ServerErrorKind::ClusterDown)
                | ErrorKind::ClusterConnectionNotFound
        )
}

/// Whether a cluster has not executed a call because its slot is being moved to another node, and the driver has no
/// retries left: a script whose keys are on both nodes is rejected with `TRYAGAIN` until all have been moved.
fn is_slot_moving(error: &RedisError) -> bool {
    matches!(error.kind(), ErrorKind::Server(ServerErrorKind::TryAgain | ServerErrorKind::Moved | ServerErrorKind::Ask))
}

/// The error of a call to one node of a cluster that timed out.
pub(super) fn node_timeout_error() -> RedisError {
    std::io::Error::from(std::io::ErrorKind::TimedOut).into()
}

/// Maps a command's error: [`Error::Internal`] if a retry cannot succeed, else [`Error::Unavailable`].
pub(super) fn map_redis_error(error: RedisError) -> Error {
    match error.kind() {
        ErrorKind::UnexpectedReturnType
        | ErrorKind::Server(ServerErrorKind::ResponseError | ServerErrorKind::CrossSlot) => Error::internal(error),
        _ => Error::unavailable(error),
    }
}
