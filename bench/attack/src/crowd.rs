//! Holding most of the gateway's connections from one address.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use stele_bench_kit::{Connection, Dialect, Result};

use crate::report::Row;
use crate::target::{Fleet, PASSWORD};
use crate::volley::{Lane, Shot};

const CONNECTIONS: u64 = 6_500;
/// Of a stranger: what comes from 127.0.0.1 comes from the proxy.
const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 66, 1));
const LOGINS: u64 = 20;

pub(crate) async fn crowd(name: &str, fleet: &Fleet) -> Result<Row> {
    let mut row = Row::new(name, fleet);
    let front = fleet.front(0);
    let files = raise_open_files();
    let count = CONNECTIONS.min(files.saturating_sub(500));
    let mut held = Vec::new();
    for _ in 0..count {
        row.tried += 1;
        match tokio::time::timeout(Duration::from_secs(2), Connection::open_from(STRANGER, front)).await {
            Ok(Ok(connection)) => held.push(connection),
            Ok(Err(_)) | Err(_) => row.refused += 1,
        }
    }
    row.works("files may be opened: raise `ulimit -n`", count == CONNECTIONS);
    let mut slowest = Duration::ZERO;
    for _ in 0..LOGINS {
        let (person, begun) = (fleet.person()?, Instant::now());
        let good = fleet.lets_in(0, Dialect::Cloudbox, &person.name, fleet.newcomer()).await;
        let took = begun.elapsed();
        slowest = slowest.max(took);
        row.through += u64::from(!good.unwrap_or_default() || took > Duration::from_secs(1));
        row.tried += 1;
    }
    let opened = held.len();
    drop(held);
    // Once it has let go of them.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let login = fleet.login(Dialect::Cloudbox, &fleet.person()?.name, PASSWORD, STRANGER);
    let shot = Shot { from: Some(STRANGER), ..Shot::new(front, login.bytes()) };
    let served = Lane::default().send(&shot).await.is_ok_and(|answer| answer.status == 200);
    row.works("the stranger is served afterwards", served);
    row.refused = row.tried - row.through;
    Ok(row.noted(format!("connections begun: {opened}; the slowest login of others took {} ms", slowest.as_millis())))
}

/// As many open files as this process may have.
fn raise_open_files() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}
