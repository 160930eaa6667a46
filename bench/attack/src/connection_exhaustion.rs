//! Holding most of the gateway's connections from one address.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use stele_bench_kit::{Connection, DialectKind, Result};

use crate::burst::{BurstRequest, ConnectionSet};
use crate::report::AttackResult;
use crate::target::{PASSWORD, Target};

const HELD_CONNECTIONS: u64 = 6_500;
/// Of a stranger: what comes from 127.0.0.1 comes from the proxy.
const ATTACKER_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 66, 1));
const LOGINS_MEANWHILE: u64 = 20;

pub(crate) async fn hold_connections(name: &str, fleet: &Target) -> Result<AttackResult> {
    let mut row = AttackResult::new(name, fleet);
    let front = fleet.entry_address(0);
    let files = raise_file_descriptor_limit();
    let count = HELD_CONNECTIONS.min(files.saturating_sub(500));
    let mut held = Vec::new();
    for _ in 0..count {
        row.sent += 1;
        match tokio::time::timeout(Duration::from_secs(2), Connection::connect_from(ATTACKER_ADDRESS, front)).await {
            Ok(Ok(connection)) => held.push(connection),
            Ok(Err(_)) | Err(_) => row.rejected += 1,
        }
    }
    row.require("files may be opened: raise `ulimit -n`", count == HELD_CONNECTIONS);
    let mut slowest = Duration::ZERO;
    for _ in 0..LOGINS_MEANWHILE {
        let (person, begun) = (fleet.fresh_user()?, Instant::now());
        let good = fleet.can_log_in(0, DialectKind::Cloudbox, &person.name, fleet.fresh_client_address()).await;
        let took = begun.elapsed();
        slowest = slowest.max(took);
        row.let_through += u64::from(!good.unwrap_or_default() || took > Duration::from_secs(1));
        row.sent += 1;
    }
    let opened = held.len();
    drop(held);
    // Once it has let go of them.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let login = fleet.login_request(DialectKind::Cloudbox, &fleet.fresh_user()?.name, PASSWORD, ATTACKER_ADDRESS);
    let shot = BurstRequest { from: Some(ATTACKER_ADDRESS), ..BurstRequest::new(front, login.to_bytes()) };
    let served = ConnectionSet::default().send(&shot).await.is_ok_and(|answer| answer.status == 200);
    row.require("the stranger is served afterwards", served);
    row.rejected = row.sent - row.let_through;
    Ok(row
        .with_note(format!("connections begun: {opened}; the slowest login of others took {} ms", slowest.as_millis())))
}

/// As many open files as this process may have.
fn raise_file_descriptor_limit() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}
