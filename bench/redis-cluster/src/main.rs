//! CPU time of Redis for a login, on one server and on Clusters of one and of three masters (ADR 48): the load of the
//! busiest master bounds the logins per second of a deployment.
//!
//!     cargo run --release --manifest-path bench/redis-cluster/Cargo.toml
//!
//! Starts its own servers. Each round makes a fixed number of logins with the product's own calls: correct salted
//! proofs with a session, then wrong ones, of many accounts and addresses. The CPU time is that of the server processes
//! (`INFO cpu`), so that a machine with fewer cores than masters measures the same. Prints, for each node, CPU time,
//! execution time of scripts, and calls per login, and the number of logins per second at which the busiest node uses
//! one core, which a Redis cannot exceed. A Redis that is not saturated uses more CPU time for each command, since it
//! reads fewer at once: pin the command to one core (`taskset -c 0`), so that commands wait for the servers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use stele_core::origin::Origin;
use stele_core::policy::LoginLimits;
use stele_core::ports::{
    AttemptOutcome, LoginAttempt, OriginTrustChange, ProofResult, StateStore, SuccessEffects, UsedProof,
};
use stele_core::session::{NewSession, Session, TokenKey};
use stele_core::time::{Clock, SystemClock};
use stele_core::user::UserId;
use stele_store::RedisStateStore;
use stele_testservers::{Redis, RedisCluster};

/// Callers for each master: as many commands wait at a master of a cluster as at a single server.
const CALLERS_PER_MASTER: u32 = 64;
const LOGINS: u32 = 20_000;
const ROUNDS: usize = 3;
/// Number of accounts and of addresses: so many that the wrong proofs of all rounds stay below each limit.
const ACCOUNTS: u32 = 20_000;

/// The logins of a round.
#[derive(Clone, Copy)]
enum Kind {
    Right,
    Wrong,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Right => "right",
            Self::Wrong => "wrong",
        })
    }
}

/// The n-th login, of another account and address than those shortly before.
async fn log_in(state: &RedisStateStore, n: u32, kind: Kind) {
    let now = SystemClock.now();
    let hour = std::time::Duration::from_secs(3_600);
    let user = UserId::from_bytes(u128::from(n % ACCOUNTS).to_be_bytes());
    let attempt = LoginAttempt {
        account: LoginAttempt::account_key(Some(user), ""),
        epoch: 0,
        origin: Origin::from_address(std::net::Ipv4Addr::from_bits(0x0A00_0000 + n % ACCOUNTS).into()),
        now,
        proof_made_at: Some(now),
        limits: LoginLimits::default(),
    };
    let mut key = [0; 32];
    key[..4].copy_from_slice(&n.to_be_bytes());
    let session = Session {
        user,
        dialect: "cloudbox".to_owned(),
        app: String::new(),
        created: now,
        expires: now.saturating_add(12 * hour),
        last_seen: now,
        epoch: 0,
    };
    let success = SuccessEffects {
        used_proof: Some(UsedProof { key, expires: now.saturating_add(hour) }),
        origin_trust: OriginTrustChange::Trust,
        session: Some(NewSession { key: TokenKey(key), session, max_per_user: 10_000 }),
        ..SuccessEffects::default()
    };
    let proof = match kind {
        Kind::Right => ProofResult::Valid(Box::new(success)),
        Kind::Wrong => ProofResult::Invalid,
    };
    let outcome = state.record_login_attempt(&attempt, &proof).await.unwrap();
    assert_eq!(outcome, AttemptOutcome::Recorded);
}

/// Makes [`LOGINS`] logins at once.
async fn run_logins(state: &Arc<RedisStateStore>, kind: Kind, callers: u32) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let callers: Vec<_> = (0..callers)
        .map(|_| {
            let state = Arc::clone(state);
            tokio::spawn(async move {
                for _ in 0..LOGINS / callers {
                    log_in(&state, NEXT.fetch_add(1, Ordering::Relaxed), kind).await;
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
}

/// What a node has used: CPU time of its process and execution time of its scripts in microseconds, and the number of
/// scripts.
fn usage(node: &Redis) -> [f64; 3] {
    let cpu = node.command("INFO cpu");
    let seconds = |field: &str| cpu.lines().find_map(|line| line.strip_prefix(field)?.trim().parse::<f64>().ok());
    let micros = (seconds("used_cpu_sys:").unwrap() + seconds("used_cpu_user:").unwrap()) * 1e6;
    let stats = node.command("INFO commandstats");
    let line = stats.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:calls=")).unwrap_or("0,usec=0");
    let mut fields = line.split(',').map(|field| field.trim_start_matches("usec=").parse::<f64>().unwrap_or(0.0));
    let (calls, script_micros) = (fields.next().unwrap(), fields.next().unwrap());
    [micros, script_micros, calls]
}

/// Measures the logins of one topology.
async fn measure(title: &str, url: &str, nodes: &[Redis]) {
    let state = RedisStateStore::open(url, Arc::new(SystemClock)).await.unwrap();
    // Proofs made in the second of the birth would be stale. The first logins load the scripts.
    tokio::time::sleep(std::time::Duration::from_millis(2_100)).await;
    for kind in [Kind::Right, Kind::Wrong] {
        for round in 0..=ROUNDS {
            let before: Vec<_> = nodes.iter().map(usage).collect();
            let callers = CALLERS_PER_MASTER * nodes.len() as u32;
            run_logins(&state, kind, callers).await;
            let logins = f64::from(LOGINS / callers * callers);
            let used = before.iter().zip(nodes).map(|(before, node)| {
                let after = usage(node);
                [0, 1, 2].map(|n| (after[n] - before[n]) / logins)
            });
            let used: Vec<_> = used.collect();
            if round == 0 {
                continue;
            }
            let list = |n: usize| used.iter().map(|used| format!("{:.2}", used[n])).collect::<Vec<_>>().join(" ");
            let busiest = |n: usize| used.iter().map(|used| used[n]).fold(0.0, f64::max);
            println!(
                "{title:<20} {kind:<5} CPU µs: {:<18} scripts µs: {:<18} calls: {:<15} at most {:.0} logins/s",
                list(0),
                list(1),
                list(2),
                1e6 / busiest(0)
            );
        }
    }
}

#[tokio::main]
async fn main() {
    println!("{LOGINS} logins a round, {CALLERS_PER_MASTER} at once for each master; per login, for each node:");
    let single = [Redis::start()];
    measure("one server", &single[0].url(), &single).await;
    for masters in [1, 3] {
        let cluster = RedisCluster::start(masters, 0);
        measure(&format!("Cluster, {masters} master(s)"), &cluster.url(), cluster.nodes()).await;
    }
}
