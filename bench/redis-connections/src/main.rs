//! Compares connection pooling with multiplexing for Redis: three ways to share connections (ADR 5), with the product's
//! own calls: a login (one script with rate
//! limits, replay protection and session) and a token check.
//!
//!     cargo run --release --manifest-path bench/redis-connections/Cargo.toml
//!
//! Starts its own `redis-server`. In each round every strategy makes the same calls for the same time, one after the
//! other. Prints the medians of the rounds, in calls per second.

#![allow(dead_code, reason = "of the product's files, only what is measured is used")]

#[path = "../../../crates/store/src/state/redis/account_buckets.rs"]
mod account_buckets;
#[path = "../../../crates/store/src/state/redis/cluster_nodes.rs"]
mod cluster_nodes;
#[path = "../../../crates/store/src/state/redis/connection.rs"]
mod connection;
#[path = "../../../crates/store/src/state/redis/driver_connection.rs"]
mod driver_connection;
#[path = "../../../crates/store/src/state/redis/eviction_policy.rs"]
mod eviction_policy;
#[path = "../../../crates/store/src/state/redis/records.rs"]
mod records;
#[path = "../../../crates/store/src/state/redis/script_call.rs"]
mod script_call;
#[path = "../../../crates/store/src/state/redis/scripts.rs"]
mod scripts;
#[path = "../../../crates/store/src/state/redis/server_clocks.rs"]
mod server_clocks;
mod servers;

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use redis::aio::{ConnectionLike, ConnectionManager};
use redis::{Cmd, Value};
use stele_core::Error;
use stele_core::policy::LoginLimits;
use stele_core::session::{NewSession, Session, TokenKey};
use stele_core::time::{SystemClock, Timestamp};
use stele_core::user::UserId;

use connection::{RedisConnection, RedisConnections};
use script_call::{ExpectedServer, ScriptCall};
use servers::RedisClient;

/// Skips the check that the connection still leads to the same server.
const ANY_SERVER: ExpectedServer<'_> = ExpectedServer { server_id: "", manual_clock: None };

const CONCURRENT_CALLERS: usize = 64;
const ROUNDS: usize = 9;
const MEASUREMENT_TIME: Duration = Duration::from_millis(1_500);
const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

/// Error for a malformed reply, which the included modules import from their parent module.
fn malformed_reply_error(what: &'static str) -> Error {
    Error::internal(what)
}

/// A running `redis-server`; dropping it stops it.
struct RedisServer(Child);

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start_redis() -> (RedisServer, String) {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", ""]);
    let server = RedisServer(command.stdout(Stdio::null()).spawn().expect("redis-server must be installed"));
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        std::thread::sleep(Duration::from_millis(10));
    }
    (server, format!("redis://127.0.0.1:{port}"))
}

/// The call of a login: as in `record_login_attempt` for a correct salted proof that creates a session.
fn login_call() -> ScriptCall {
    static NEXT_LOGIN: AtomicU64 = AtomicU64::new(0);
    let n = NEXT_LOGIN.fetch_add(1, Ordering::Relaxed);
    let (account, origin, limits) = (format!("user:{}", n % 10_000), "192.0.2.1", LoginLimits::default());
    let session = Session {
        user: UserId::from_bytes([7; 16]),
        dialect: "cloudbox".to_owned(),
        app: String::new(),
        created: NOW,
        expires: NOW.saturating_add(Duration::from_secs(43_200)),
        last_seen: NOW,
        epoch: 0,
    };
    let call = ScriptCall::new(&scripts::RECORD_LOGIN_ATTEMPT)
        .key(format!("{{b}}:known:{account}@{origin}"))
        .key(format!("{{b}}:account:{account}"))
        .key(format!("{{b}}:account:{account}@{origin}"))
        .key(format!("{{b}}:origin:{origin}"))
        .key("{b}:birth".to_owned())
        .key(format!("{{b}}:replay:{n:064x}"))
        .key(format!("b:session:{:064x}", n % 10_000))
        .key(format!("b:sessions:{:032x}", n % 10_000))
        .timestamp(NOW)
        .failure_limits(&[limits.account])
        .failure_limits(&[limits.address])
        .duration(limits.trusted_origin_ttl)
        .arg("o12345678")
        .arg(NOW.as_secs())
        .arg("right")
        .timestamp(NOW.saturating_add(Duration::from_secs(300)))
        .flag(false)
        .flag(true)
        .absent()
        .flag(false);
    let mut key = [0; 32];
    key[24..].copy_from_slice(&(n % 10_000).to_be_bytes());
    records::with_new_session(call, &NewSession { key: TokenKey(key), session, max_per_user: 10_000 })
}

/// The command of a token check.
fn token_check_command() -> Cmd {
    static NEXT_TOKEN: AtomicU64 = AtomicU64::new(0);
    records::session_fields_command(&format!("b:session:{:064x}", NEXT_TOKEN.fetch_add(1, Ordering::Relaxed) % 10_000))
}

/// The measured operation.
#[derive(Clone, Copy)]
enum Operation {
    Login,
    TokenCheck,
}

/// A way to share connections among callers.
#[derive(Clone)]
enum ConnectionStrategy {
    Deadpool(deadpool_redis::Pool),
    Manager(ConnectionManager),
    Product(Arc<RedisConnection>),
}

impl ConnectionStrategy {
    async fn login(&self) {
        let call = login_call();
        let reply: (String, i64, i64) = match self {
            Self::Deadpool(pool) => query(&mut pool.get().await.unwrap(), &call.evalsha_command(&ANY_SERVER)).await,
            Self::Manager(manager) => query(&mut manager.clone(), &call.evalsha_command(&ANY_SERVER)).await,
            Self::Product(connection) => connection.run_script(&call).await.unwrap(),
        };
        assert_eq!(reply.0, "done");
    }

    async fn check_token(&self) {
        let command = token_check_command();
        let reply: Value = match self {
            Self::Deadpool(pool) => query(&mut pool.get().await.unwrap(), &command).await,
            Self::Manager(manager) => query(&mut manager.clone(), &command).await,
            Self::Product(connection) => connection.run_command(&command).await.unwrap(),
        };
        assert!(matches!(reply, Value::Array(fields) if fields.len() == 7));
    }

    /// Calls per second of all callers together.
    async fn measure(&self, operation: Operation) -> f64 {
        let started = Instant::now();
        let callers: Vec<_> = (0..CONCURRENT_CALLERS)
            .map(|_| {
                let strategy = self.clone();
                tokio::spawn(async move {
                    let mut calls = 0u64;
                    while started.elapsed() < MEASUREMENT_TIME {
                        match operation {
                            Operation::Login => strategy.login().await,
                            Operation::TokenCheck => strategy.check_token().await,
                        }
                        calls += 1;
                    }
                    calls
                })
            })
            .collect();
        let mut calls = 0;
        for caller in callers {
            calls += caller.await.unwrap();
        }
        calls as f64 / started.elapsed().as_secs_f64()
    }
}

async fn query<T: redis::FromRedisValue>(connection: &mut impl ConnectionLike, command: &Cmd) -> T {
    command.query_async(connection).await.unwrap()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[tokio::main]
async fn main() {
    let (_server, url) = start_redis();
    let client = redis::Client::open(url.as_str()).unwrap();
    let connections = RedisConnections::connect(
        RedisClient::new(client.clone()),
        "{b}:birth".to_owned(),
        None,
        Arc::new(SystemClock),
    )
    .await
    .unwrap();
    let connection = connections.for_current_runtime();
    // Set an old creation time of the state store, so that no proof is stale. The first calls also load the scripts.
    let mut setup_connection = client.get_multiplexed_async_connection().await.unwrap();
    let () = redis::cmd("DEL").arg("{b}:birth").query_async(&mut setup_connection).await.unwrap();
    let birth =
        ScriptCall::new(&scripts::BIRTH).key("{b}:birth".to_owned()).timestamp(Timestamp::from_secs(1_500_000_000));
    let _: i64 = connection.run_script(&birth).await.unwrap();
    let _: Value = connection.run_script(&login_call()).await.unwrap();

    let new_deadpool = |size: usize| {
        let mut config = deadpool_redis::Config::from_url(url.as_str());
        config.pool = Some(deadpool_redis::PoolConfig::new(size));
        ConnectionStrategy::Deadpool(config.create_pool(Some(deadpool_redis::Runtime::Tokio1)).unwrap())
    };
    let strategies = [
        ("deadpool-redis, 16 connections", new_deadpool(16)),
        ("deadpool-redis, 64 connections", new_deadpool(CONCURRENT_CALLERS)),
        ("redis's ConnectionManager", ConnectionStrategy::Manager(ConnectionManager::new(client).await.unwrap())),
        ("one multiplexed connection (the product's)", ConnectionStrategy::Product(connection)),
    ];
    println!("{CONCURRENT_CALLERS} concurrent callers, medians of {ROUNDS} rounds, calls per second");
    for (title, operation) in [("logins", Operation::Login), ("token checks", Operation::TokenCheck)] {
        let mut rates = vec![Vec::new(); strategies.len()];
        for _ in 0..ROUNDS {
            for ((_, strategy), rates) in strategies.iter().zip(&mut rates) {
                rates.push(strategy.measure(operation).await);
            }
        }
        for ((name, _), rates) in strategies.iter().zip(rates) {
            println!("{title:<18} {name:<44} {:>8.0}", median(rates));
        }
    }
}
