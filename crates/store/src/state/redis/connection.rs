//! Multiplexed Redis connections, one per runtime, with a task that reconnects.
//!
//! Calls never connect. The reconnect task connects, sends a heartbeat every second, and replaces a connection that a
//! call reported as broken. During the first attempt to connect, calls wait within their timeout; after a failed
//! attempt they fail at once until an attempt succeeds. See `docs/adr/0005-multiplex-redis-connections.md`, `0018` and
//! `0021`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redis::{Cmd, FromRedisValue, RedisResult};
use stele_core::ports::ServerClock;
use stele_core::time::{Clock, Timestamp};
use stele_core::{Error, Result};
use tokio::runtime::{Handle, Id};
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::account_buckets::AccountBuckets;
use super::driver_connection::{DriverConnection, is_connection_lost, map_redis_error, node_timeout_error};
use super::eviction_policy::EvictionPolicy;
use super::script_call::{ExpectedServer, ScriptCall};
use super::scripts;
use super::server_clocks::read_server_clocks;
use super::servers::RedisClient;

/// Timeout of a call, including the wait for a connection: a login fails within two seconds.
pub(super) const RESPONSE_TIMEOUT: Duration = Duration::from_millis(1_500);

/// Timeout of an attempt to connect, including the first heartbeat and the first check of the eviction policy.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Pause after a failed attempt to connect.
const RECONNECT_DELAY: Duration = Duration::from_millis(250);

/// Time between two heartbeats.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);

/// Time between two warnings about failed nodes of a cluster.
const CLUSTER_WARNING_INTERVAL: Duration = Duration::from_secs(10);

/// Time between two checks of the eviction policy.
const EVICTION_CHECK_INTERVAL: Duration = Duration::from_secs(60);

/// Time between two checks while the eviction policy has never been read: the instance is not ready until it is read.
const EVICTION_RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// An established connection and the server it was made to.
#[derive(Clone)]
struct LiveConnection {
    /// Distinguishes a connection reported broken from its successor.
    generation: u64,
    connection: DriverConnection,
    /// The id that `server_id` in `common.lua` returned; empty on a cluster, where each bucket has its own.
    server_id: Arc<str>,
}

#[derive(Clone)]
enum ConnectionState {
    /// The first attempt, or the first since the connection was lost, is in progress.
    Connecting,
    /// The last attempt failed, with this error.
    Down(Arc<str>),
    /// Connected.
    Up(LiveConnection),
}

/// State that all connections of a store share.
struct ConnectionContext {
    servers: RedisClient,
    birth_key: String,
    /// The buckets of accounts on a cluster, each with its birth; `None` elsewhere.
    buckets: Option<AccountBuckets>,
    clock: Arc<dyn Clock>,
    eviction_policy: EvictionPolicy,
    /// Id of the server that a connection of this store was last made to. A new connection expects that server.
    last_server_id: Mutex<Arc<str>>,
}

impl ConnectionContext {
    fn last_server_id(&self) -> MutexGuard<'_, Arc<str>> {
        self.last_server_id.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn expected_server<'a>(&self, server_id: &'a str) -> ExpectedServer<'a> {
        ExpectedServer { server_id, manual_clock: self.manual_clock() }
    }

    /// The time that the server is to use as its own, if a test sets the clock.
    fn manual_clock(&self) -> Option<Timestamp> {
        (!self.clock.is_system_clock()).then(|| self.clock.now())
    }
}

/// The connections of a store: one for each runtime, so that commands and replies do not cross threads.
pub(super) struct RedisConnections {
    context: Arc<ConnectionContext>,
    by_runtime: Mutex<HashMap<Id, Arc<RedisConnection>>>,
}

impl RedisConnections {
    /// Connects. `buckets` are those of a cluster. Returns the error message if the first attempt fails.
    pub(super) async fn connect(
        servers: RedisClient,
        birth_key: String,
        buckets: Option<AccountBuckets>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, String> {
        let context = ConnectionContext {
            servers,
            birth_key,
            buckets,
            clock,
            eviction_policy: EvictionPolicy::default(),
            last_server_id: Mutex::new("".into()),
        };
        let connections = Self { context: Arc::new(context), by_runtime: Mutex::default() };
        connections.for_current_runtime().wait_until_connected().await?;
        Ok(connections)
    }

    /// The buckets of accounts on a cluster.
    pub(super) fn buckets(&self) -> Option<&AccountBuckets> {
        self.context.buckets.as_ref()
    }

    /// The defect of the servers' eviction policy, if any, as last checked.
    pub(super) fn eviction_defect(&self) -> Option<String> {
        self.context.eviction_policy.defect()
    }

    /// The connection of the current runtime. Starts its reconnect task at the first call.
    pub(super) fn for_current_runtime(&self) -> Arc<RedisConnection> {
        let mut by_runtime = self.by_runtime.lock().unwrap_or_else(PoisonError::into_inner);
        let connection = by_runtime.entry(Handle::current().id());
        Arc::clone(connection.or_insert_with(|| Arc::new(RedisConnection::spawn(&self.context))))
    }
}

/// Handle to a connection that a reconnect task maintains. Dropping the handle aborts the task.
pub(super) struct RedisConnection {
    context: Arc<ConnectionContext>,
    state: watch::Receiver<ConnectionState>,
    broken_tx: mpsc::UnboundedSender<u64>,
    reconnect_task: AbortHandle,
}

impl Drop for RedisConnection {
    fn drop(&mut self) {
        self.reconnect_task.abort();
    }
}

impl RedisConnection {
    /// Spawns a reconnect task on the current runtime.
    fn spawn(context: &Arc<ConnectionContext>) -> Self {
        let (state_tx, state) = watch::channel(ConnectionState::Connecting);
        let (broken_tx, broken_rx) = mpsc::unbounded_channel();
        let server_id = Arc::clone(&context.last_server_id());
        let task =
            ReconnectTask { context: Arc::clone(context), state: state_tx, broken_rx, server_id, warned_at: None };
        let reconnect_task = tokio::spawn(task.run()).abort_handle();
        Self { context: Arc::clone(context), state, broken_tx, reconnect_task }
    }

    /// Waits for the first attempt to connect. Returns the error message if the attempt fails.
    async fn wait_until_connected(&self) -> Result<(), String> {
        let mut state = self.state.clone();
        let first = state.wait_for(|state| !matches!(state, ConnectionState::Connecting)).await;
        match first.map(|state| state.clone()) {
            Ok(ConnectionState::Down(cause)) => Err(cause.to_string()),
            Ok(_) => Ok(()),
            Err(_) => Err("the runtime is shutting down".to_owned()),
        }
    }

    /// Runs a script within [`RESPONSE_TIMEOUT`].
    pub(super) async fn run_script<T: FromRedisValue>(&self, call: &ScriptCall) -> Result<T> {
        self.with_connection(async |live: &mut LiveConnection| match (&self.context.buckets, call.bucket) {
            (Some(buckets), Some(bucket)) => {
                buckets.run_script(&mut live.connection, bucket, call, self.context.manual_clock()).await
            }
            _ => live.connection.run_script(call, &self.context.expected_server(&live.server_id)).await,
        })
        .await
    }

    /// Records the births of all buckets of a cluster that have none or may have lost data.
    pub(super) async fn record_births(&self) -> Result<()> {
        let Some(buckets) = &self.context.buckets else { return Ok(()) };
        let live = self.live_connection().await?;
        buckets.record_births(&live.connection, self.context.manual_clock()).await;
        Ok(())
    }

    /// Runs a command within [`RESPONSE_TIMEOUT`].
    pub(super) async fn run_command<T: FromRedisValue>(&self, command: &Cmd) -> Result<T> {
        self.with_connection(async |live: &mut LiveConnection| live.connection.query(command).await).await
    }

    /// Reads the clock of every master within [`RESPONSE_TIMEOUT`].
    pub(super) async fn read_server_clocks(&self) -> Result<Vec<ServerClock>> {
        self.with_connection(async |live: &mut LiveConnection| read_server_clocks(&mut live.connection).await).await
    }

    /// Runs `work` within [`RESPONSE_TIMEOUT`], and reports the connection as broken if it is lost or the call
    /// times out.
    async fn with_connection<T>(&self, work: impl AsyncFnOnce(&mut LiveConnection) -> RedisResult<T>) -> Result<T> {
        let mut used_generation = None;
        let call = timeout(RESPONSE_TIMEOUT, async {
            let mut live = self.live_connection().await?;
            used_generation = Some(live.generation);
            Ok(work(&mut live).await)
        });
        let (error, lost) = match call.await {
            Ok(Ok(Ok(reply))) => return Ok(reply),
            Ok(Ok(Err(error))) => {
                let lost = is_connection_lost(&error);
                (map_redis_error(error), lost)
            }
            Ok(Err(not_connected)) => return Err(not_connected),
            Err(elapsed) => (Error::unavailable(elapsed), true),
        };
        if let (true, Some(generation)) = (lost, used_generation) {
            // Fails if the reconnect task has ended with its runtime.
            let _ = self.broken_tx.send(generation);
        }
        Err(error)
    }

    /// The current connection. Waits while an attempt is in progress.
    async fn live_connection(&self) -> Result<LiveConnection> {
        let mut state = self.state.clone();
        let state =
            state.wait_for(|state| !matches!(state, ConnectionState::Connecting)).await.map_err(Error::unavailable)?;
        match &*state {
            ConnectionState::Up(live) => Ok(live.clone()),
            ConnectionState::Down(cause) => Err(Error::unavailable(cause.to_string())),
            ConnectionState::Connecting => Err(Error::unavailable("not connected")),
        }
    }
}

/// Background task that connects, monitors the connection and reconnects, until it is aborted.
struct ReconnectTask {
    context: Arc<ConnectionContext>,
    state: watch::Sender<ConnectionState>,
    broken_rx: mpsc::UnboundedReceiver<u64>,
    /// Id of the server that the task was last connected to; empty before the first connection. Another server gets a
    /// new birth: the birth recorded there may be from before that server was frozen or partitioned, and replaced.
    server_id: Arc<str>,
    /// When the last warning about a node of a cluster was logged.
    warned_at: Option<Instant>,
}

impl ReconnectTask {
    async fn run(mut self) {
        let mut generation = 0;
        loop {
            match timeout(CONNECT_TIMEOUT, self.connect()).await {
                Ok(Ok(connection)) => {
                    generation += 1;
                    if generation > 1 {
                        tracing::info!(servers = %self.context.servers, "state store: reconnected");
                    }
                    let live = LiveConnection { generation, connection, server_id: Arc::clone(&self.server_id) };
                    self.state.send_replace(ConnectionState::Up(live.clone()));
                    let cause = self.monitor(live).await;
                    self.report_lost_connection(&cause).await;
                }
                Ok(Err(error)) => self.back_off(&error.to_string()).await,
                Err(_) => self.back_off("timeout").await,
            }
        }
    }

    /// Makes callers wait for the next connection. On a cluster they continue to use the lost one meanwhile, which
    /// still reaches the other nodes.
    async fn report_lost_connection(&mut self, cause: &str) {
        if self.context.buckets.is_none() {
            tracing::warn!(servers = %self.context.servers, cause, "state store: connection lost");
            self.state.send_replace(ConnectionState::Connecting);
            return;
        }
        if self.warned_at.is_none_or(|at| at.elapsed() > CLUSTER_WARNING_INTERVAL) {
            tracing::warn!(servers = %self.context.servers, cause, "state store: a node of the cluster failed");
            self.warned_at = Some(Instant::now());
        }
        tokio::time::sleep(RECONNECT_DELAY).await;
    }

    /// Reports a failed attempt to the callers, and waits for the next one.
    async fn back_off(&self, cause: &str) {
        let previous = self.state.send_replace(ConnectionState::Down(cause.into()));
        if !matches!(previous, ConnectionState::Down(_)) {
            tracing::warn!(servers = %self.context.servers, cause, "state store: cannot connect");
        }
        tokio::time::sleep(RECONNECT_DELAY).await;
    }

    /// Connects. The first heartbeat records a new birth of an empty or different server, before any call uses
    /// the connection.
    async fn connect(&mut self) -> RedisResult<DriverConnection> {
        let mut connection = self.context.servers.connect().await?;
        match &self.context.buckets {
            None => {
                self.heartbeat(&mut connection).await?;
                self.context.eviction_policy.refresh(&mut connection).await;
            }
            Some(buckets) => {
                // At once, because each waits for a node that does not respond.
                let mut same = connection.clone();
                let check = buckets.check_servers(&connection, self.context.manual_clock());
                let (checked, ()) = tokio::join!(check, self.context.eviction_policy.refresh(&mut same));
                checked?;
            }
        }
        Ok(connection)
    }

    /// Runs the birth script, and stores the id of the server that ran it. On a cluster, does so for buckets of each
    /// server.
    async fn heartbeat(&mut self, connection: &mut DriverConnection) -> RedisResult<()> {
        if let Some(buckets) = &self.context.buckets {
            let all_responded = buckets.check_servers(connection, self.context.manual_clock()).await?;
            return if all_responded { Ok(()) } else { Err(node_timeout_error()) };
        }
        let call = ScriptCall::new(&scripts::BIRTH).key(self.context.birth_key.clone());
        let (_, server_id): (i64, String) =
            connection.run_script(&call, &self.context.expected_server(&self.server_id)).await?;
        if *self.server_id != *server_id {
            self.server_id = server_id.into();
            *self.context.last_server_id() = Arc::clone(&self.server_id);
        }
        Ok(())
    }

    /// Sends heartbeats until the connection must be replaced. Returns the reason.
    async fn monitor(&mut self, mut live: LiveConnection) -> String {
        let mut last_check = Instant::now();
        loop {
            match timeout(HEARTBEAT_INTERVAL, self.broken_rx.recv()).await {
                Ok(Some(broken)) if broken == live.generation => return "a call failed".to_owned(),
                Ok(Some(_)) => continue,
                // The handle is dropped, which aborts this task.
                Ok(None) => return "closed".to_owned(),
                Err(_) => {}
            }
            // On a cluster, each node has the time of a call.
            let limit = if self.context.buckets.is_some() { CONNECT_TIMEOUT } else { RESPONSE_TIMEOUT };
            match timeout(limit, self.heartbeat(&mut live.connection)).await {
                Ok(Ok(())) if self.server_id == live.server_id => {}
                Ok(Ok(())) => return "the connection leads to another server".to_owned(),
                Ok(Err(error)) => return error.to_string(),
                Err(_) => return "timeout".to_owned(),
            }
            let check_interval = if self.context.eviction_policy.has_been_read() {
                EVICTION_CHECK_INTERVAL
            } else {
                EVICTION_RETRY_INTERVAL
            };
            if last_check.elapsed() >= check_interval {
                last_check = Instant::now();
                // On a new connection: a cluster client skips masters that were unreachable when it connected.
                if let Ok(Ok(mut new_connection)) = timeout(RESPONSE_TIMEOUT, self.context.servers.connect()).await {
                    self.context.eviction_policy.refresh(&mut new_connection).await;
                }
            }
        }
    }
}
