//! Attack: connection exhaustion. Opens idle connections from one address, most of those that the gateway accepts in
//! all.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use stele_bench_kit::{Connection, DialectKind, Result};

use crate::burst::{BurstRequest, ConnectionSet};
use crate::report::AttackResult;
use crate::target::{PASSWORD, Target};

/// Connections that the attacker tries to open.
const HELD_CONNECTIONS: u64 = 6_500;
/// Not 127.0.0.1, which is the trusted proxy.
const ATTACKER_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 66, 1));
/// Logins of other clients while the connections are open.
const LOGINS_MEANWHILE: u64 = 20;

pub(crate) async fn hold_connections(name: &str, target: &Target) -> Result<AttackResult> {
    let mut result = AttackResult::new(name, target);
    let gateway = target.gateway_address(0);
    let max_files = raise_file_descriptor_limit();
    let count = HELD_CONNECTIONS.min(max_files.saturating_sub(500));
    let mut held = Vec::new();
    for _ in 0..count {
        result.sent += 1;
        match tokio::time::timeout(Duration::from_secs(2), Connection::connect_from(ATTACKER_ADDRESS, gateway)).await {
            Ok(Ok(connection)) => held.push(connection),
            Ok(Err(_)) | Err(_) => result.rejected += 1,
        }
    }
    result.require("enough open files: raise `ulimit -n`", count == HELD_CONNECTIONS);
    let mut slowest = Duration::ZERO;
    for _ in 0..LOGINS_MEANWHILE {
        let (user, started_at) = (target.fresh_user()?, Instant::now());
        let logged_in = target.can_log_in(0, DialectKind::Cloudbox, &user.name, target.fresh_client_address()).await;
        let took = started_at.elapsed();
        slowest = slowest.max(took);
        result.let_through += u64::from(!logged_in.unwrap_or_default() || took > Duration::from_secs(1));
        result.sent += 1;
    }
    let opened = held.len();
    drop(held);
    // Wait until the gateway has closed its ends of the connections.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let login = target.login_request(DialectKind::Cloudbox, &target.fresh_user()?.name, PASSWORD, ATTACKER_ADDRESS);
    let request = BurstRequest { source: Some(ATTACKER_ADDRESS), ..BurstRequest::new(gateway, login.to_bytes()) };
    let served = ConnectionSet::default().send(&request).await.is_ok_and(|response| response.status == 200);
    result.require("the attacker's address is served afterwards", served);
    result.rejected = result.sent - result.let_through;
    Ok(result.with_note(format!(
        "connections opened: {opened}; slowest login of another client: {} ms",
        slowest.as_millis()
    )))
}

/// Raises the limit of open files to its maximum and returns it.
fn raise_file_descriptor_limit() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}
