//! Reads the clocks of the Redis servers, to compare this machine's clock with them.

use std::collections::HashMap;

use redis::cluster_routing::{MultipleNodeRoutingInfo, ResponsePolicy, RoutingInfo};
use redis::{RedisResult, from_redis_value};
use stele_core::ports::ServerClock;
use stele_core::time::Timestamp;

use super::driver_connection::DriverConnection;

/// The reply to `TIME`: seconds, and microseconds of the second.
type TimeReply = (i64, i64);

/// Sends `TIME` to every master that the connection reaches.
pub(super) async fn read_server_clocks(connection: &mut DriverConnection) -> RedisResult<Vec<ServerClock>> {
    let command = redis::cmd("TIME");
    let replies: HashMap<String, TimeReply> = match connection {
        DriverConnection::SingleServer(connection) => {
            HashMap::from([(String::new(), command.query_async(connection).await?)])
        }
        DriverConnection::Cluster { all_masters: cluster, .. } => {
            let masters = (MultipleNodeRoutingInfo::AllMasters, Some(ResponsePolicy::Special));
            from_redis_value(cluster.route_command(command, RoutingInfo::MultiNode(masters)).await?)?
        }
    };
    let to_clock = |(server, (seconds, micros)): (String, TimeReply)| {
        let micros_since_epoch = Timestamp::from_secs(seconds).as_micros().saturating_add(micros);
        ServerClock { server, now: Timestamp::from_micros(micros_since_epoch) }
    };
    Ok(replies.into_iter().map(to_clock).collect())
}
