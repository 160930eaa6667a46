//! One connection for all that a runtime asks, and a keeper that looks after it.
//!
//! Whoever calls never connects: the keeper does, looks every second whether the server still answers, and replaces a
//! connection that somebody found broken. While it tries, callers wait, within their time; once a try has failed,
//! they get an error at once, until one succeeds. See `docs/adr/0005-redis-connections.md`, `0018` and `0021`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::cluster_async::ClusterConnection;
use redis::{Cmd, ErrorKind, FromRedisValue, RedisError, RedisResult, ServerErrorKind};
use stele_core::time::Clock;
use stele_core::{Error, Result};
use tokio::runtime::{Handle, Id};
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::eviction_policy::EvictionPolicy;
use super::script_call::{ExpectedServer, ScriptCall};
use super::scripts;
use super::servers::RedisClient;

/// How long a call may take, waiting for a connection included: a login is told within two seconds.
const RESPONSE_TIMEOUT: Duration = Duration::from_millis(1_500);

/// How long making a connection may take, all the way to the first answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the keeper rests after a failed try.
const RECONNECT_DELAY: Duration = Duration::from_millis(250);

/// How often the keeper looks whether the server still answers.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);

/// How often the keeper looks whether the servers evict keys.
const EVICTION_CHECK_INTERVAL: Duration = Duration::from_secs(60);

/// How soon it looks again if that could not be learned yet: until then the instance is not ready.
const EVICTION_RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// A connection that any number of callers use at once.
#[derive(Clone)]
pub(super) enum DriverConnection {
    /// To one server.
    SingleServer(MultiplexedConnection),
    /// To all nodes of a cluster.
    Cluster(ClusterConnection),
}

impl DriverConnection {
    async fn query<T: FromRedisValue>(&mut self, command: &Cmd) -> RedisResult<T> {
        match self {
            Self::SingleServer(connection) => command.query_async(connection).await,
            Self::Cluster(connection) => command.query_async(connection).await,
        }
    }

    async fn run_script<T: FromRedisValue>(&mut self, call: &ScriptCall, peer: &ExpectedServer<'_>) -> RedisResult<T> {
        match self.query(&call.evalsha_command(peer)).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                self.query(&call.eval_command(peer)).await
            }
            result => result,
        }
    }
}

/// A connection, and where it leads.
#[derive(Clone)]
struct LiveConnection {
    /// Distinguishes a connection that was found broken from its successor.
    generation: u64,
    connection: DriverConnection,
    /// The server that it was made to, as `server_id` in `common.lua` gives it; of a cluster, the node of the birth.
    server_id: Arc<str>,
}

#[derive(Clone)]
enum ConnectionState {
    /// The first try, or the first since the connection was lost, is not over yet.
    Connecting,
    /// The last try failed.
    Down(Arc<str>),
    /// Connected.
    Up(LiveConnection),
}

/// Whom to connect to, and what is noted there.
struct ConnectionContext {
    servers: RedisClient,
    birth_key: String,
    clock: Arc<dyn Clock>,
    eviction_policy: EvictionPolicy,
    /// The server that a connection of this process was last made to: where connections made later begin.
    last_server_id: Mutex<Arc<str>>,
}

impl ConnectionContext {
    fn last_server_id(&self) -> MutexGuard<'_, Arc<str>> {
        self.last_server_id.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn expected_server<'a>(&self, server: &'a str) -> ExpectedServer<'a> {
        ExpectedServer { server_id: server, manual_clock: (!self.clock.is_system_clock()).then(|| self.clock.now()) }
    }
}

/// The connections to some servers: one for each runtime that calls, so that no command and no answer crosses from one
/// thread to another.
pub(super) struct RedisConnections {
    context: Arc<ConnectionContext>,
    by_runtime: Mutex<HashMap<Id, Arc<RedisConnection>>>,
}

impl RedisConnections {
    /// Connects. Gives what is wrong if the first try fails.
    pub(super) async fn connect(
        servers: RedisClient,
        birth_key: String,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, String> {
        let whom = ConnectionContext {
            servers,
            birth_key,
            clock,
            eviction_policy: EvictionPolicy::default(),
            last_server_id: Mutex::new("".into()),
        };
        let links = Self { context: Arc::new(whom), by_runtime: Mutex::default() };
        links.for_current_runtime().wait_until_connected().await?;
        Ok(links)
    }

    /// What is wrong with how the servers evict keys, if anything is, as last seen.
    pub(super) fn eviction_defect(&self) -> Option<String> {
        self.context.eviction_policy.defect()
    }

    /// The connection of the runtime that this is called on.
    pub(super) fn for_current_runtime(&self) -> Arc<RedisConnection> {
        let mut links = self.by_runtime.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(
            links.entry(Handle::current().id()).or_insert_with(|| Arc::new(RedisConnection::spawn(&self.context))),
        )
    }
}

/// A handle to the keeper's connection. The keeper ends with it.
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
    /// Starts a keeper on the runtime that this is called on.
    fn spawn(whom: &Arc<ConnectionContext>) -> Self {
        let (line_out, line) = watch::channel(ConnectionState::Connecting);
        let (broken, broken_in) = mpsc::unbounded_channel();
        let server = Arc::clone(&whom.last_server_id());
        let keeper =
            ReconnectTask { context: Arc::clone(whom), state: line_out, broken_rx: broken_in, server_id: server };
        Self {
            context: Arc::clone(whom),
            state: line,
            broken_tx: broken,
            reconnect_task: tokio::spawn(keeper.run()).abort_handle(),
        }
    }

    /// Waits for the first try; gives what is wrong if it fails.
    async fn wait_until_connected(&self) -> Result<(), String> {
        let mut line = self.state.clone();
        let first = line.wait_for(|line| !matches!(line, ConnectionState::Connecting)).await;
        match first.map(|line| line.clone()) {
            Ok(ConnectionState::Down(cause)) => Err(cause.to_string()),
            Ok(_) => Ok(()),
            Err(_) => Err("the runtime is ending".to_owned()),
        }
    }

    /// Has a script run.
    pub(super) async fn run_script<T: FromRedisValue>(&self, call: &ScriptCall) -> Result<T> {
        self.with_connection(async |to: &mut LiveConnection| {
            to.connection.run_script(call, &self.context.expected_server(&to.server_id)).await
        })
        .await
    }

    /// Has a command run.
    pub(super) async fn run_command<T: FromRedisValue>(&self, command: &Cmd) -> Result<T> {
        self.with_connection(async |to: &mut LiveConnection| to.connection.query(command).await).await
    }

    async fn with_connection<T>(&self, work: impl AsyncFnOnce(&mut LiveConnection) -> RedisResult<T>) -> Result<T> {
        let mut used = None;
        let answer = timeout(RESPONSE_TIMEOUT, async {
            let mut established = self.live_connection().await?;
            used = Some(established.generation);
            Ok(work(&mut established).await)
        });
        let (error, lost) = match answer.await {
            Ok(Ok(Ok(answer))) => return Ok(answer),
            Ok(Ok(Err(error))) => {
                let lost = is_connection_lost(&error);
                (map_redis_error(error), lost)
            }
            Ok(Err(unconnected)) => return Err(unconnected),
            Err(late) => (Error::unavailable(late), true),
        };
        if let (true, Some(number)) = (lost, used) {
            // A keeper that is gone has nothing to replace.
            let _ = self.broken_tx.send(number);
        }
        Err(error)
    }

    async fn live_connection(&self) -> Result<LiveConnection> {
        let mut line = self.state.clone();
        let line =
            line.wait_for(|line| !matches!(line, ConnectionState::Connecting)).await.map_err(Error::unavailable)?;
        match &*line {
            ConnectionState::Up(established) => Ok(established.clone()),
            ConnectionState::Down(cause) => Err(Error::unavailable(cause.to_string())),
            ConnectionState::Connecting => Err(Error::unavailable("not connected")),
        }
    }
}

/// Whether a connection on which this happened should be replaced: it is gone, or leads to a server that does not
/// take writes (any more), as after a failover, or to another one than it was made to (`common.lua` says so).
fn is_connection_lost(error: &RedisError) -> bool {
    error.is_unrecoverable_error()
        || error.is_timeout()
        || error.code() == Some("NEWSERVER")
        || matches!(
            error.kind(),
            ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown | ServerErrorKind::ClusterDown)
                | ErrorKind::ClusterConnectionNotFound
        )
}

/// What a failed command is to the domain: what may get better by itself is unavailable.
fn map_redis_error(error: RedisError) -> Error {
    match error.kind() {
        ErrorKind::UnexpectedReturnType
        | ErrorKind::Server(ServerErrorKind::ResponseError | ServerErrorKind::CrossSlot) => Error::internal(error),
        _ => Error::unavailable(error),
    }
}

struct ReconnectTask {
    context: Arc<ConnectionContext>,
    state: watch::Sender<ConnectionState>,
    broken_rx: mpsc::UnboundedReceiver<u64>,
    /// The server that it was last connected to; empty before the first. Another one has a new birth, whatever its
    /// record says: that may be from before it was frozen or cut off, and replaced.
    server_id: Arc<str>,
}

impl ReconnectTask {
    async fn run(mut self) {
        let mut number = 0;
        loop {
            match timeout(CONNECT_TIMEOUT, self.connect()).await {
                Ok(Ok(connection)) => {
                    number += 1;
                    if number > 1 {
                        tracing::info!(servers = %self.context.servers, "state store: connected again");
                    }
                    let established =
                        LiveConnection { generation: number, connection, server_id: Arc::clone(&self.server_id) };
                    self.state.send_replace(ConnectionState::Up(established.clone()));
                    let cause = self.monitor(established).await;
                    tracing::warn!(servers = %self.context.servers, cause, "state store: connection lost");
                    self.state.send_replace(ConnectionState::Connecting);
                }
                Ok(Err(error)) => self.back_off(&error.to_string()).await,
                Err(_) => self.back_off("no answer").await,
            }
        }
    }

    async fn back_off(&self, cause: &str) {
        let was = self.state.send_replace(ConnectionState::Down(cause.into()));
        if !matches!(was, ConnectionState::Down(_)) {
            tracing::warn!(servers = %self.context.servers, cause, "state store: cannot connect");
        }
        tokio::time::sleep(RECONNECT_DELAY).await;
    }

    /// Connects, and has the server note its birth if it came up empty or is another one: before any login gets there.
    async fn connect(&mut self) -> RedisResult<DriverConnection> {
        let mut connection = self.context.servers.connect().await?;
        self.heartbeat(&mut connection).await?;
        self.context.eviction_policy.refresh(&mut connection).await;
        Ok(connection)
    }

    async fn heartbeat(&mut self, connection: &mut DriverConnection) -> RedisResult<()> {
        let call = ScriptCall::new(&scripts::BIRTH).key(self.context.birth_key.clone());
        let (_, server): (i64, String) =
            connection.run_script(&call, &self.context.expected_server(&self.server_id)).await?;
        if *self.server_id != *server {
            self.server_id = server.into();
            *self.context.last_server_id() = Arc::clone(&self.server_id);
        }
        Ok(())
    }

    /// Returns when the connection is no longer good, with the reason.
    async fn monitor(&mut self, mut to: LiveConnection) -> String {
        let mut looked = Instant::now();
        loop {
            match timeout(HEARTBEAT_INTERVAL, self.broken_rx.recv()).await {
                Ok(Some(broken)) if broken == to.generation => return "a call failed".to_owned(),
                Ok(Some(_)) => continue,
                // The link is gone, and this task is about to be ended.
                Ok(None) => return "closed".to_owned(),
                Err(_) => {}
            }
            match timeout(RESPONSE_TIMEOUT, self.heartbeat(&mut to.connection)).await {
                Ok(Ok(())) if self.server_id == to.server_id => {}
                Ok(Ok(())) => return "it leads to another server".to_owned(),
                Ok(Err(error)) => return error.to_string(),
                Err(_) => return "no answer".to_owned(),
            }
            let rest = if self.context.eviction_policy.has_been_read() {
                EVICTION_CHECK_INTERVAL
            } else {
                EVICTION_RETRY_INTERVAL
            };
            if looked.elapsed() >= rest {
                looked = Instant::now();
                // On a new connection: the client of a cluster asks no master that was away when it connected.
                if let Ok(Ok(mut fresh)) = timeout(RESPONSE_TIMEOUT, self.context.servers.connect()).await {
                    self.context.eviction_policy.refresh(&mut fresh).await;
                }
            }
        }
    }
}
