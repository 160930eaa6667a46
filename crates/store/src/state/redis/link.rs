//! One connection for all that a runtime asks, and a keeper that looks after it.
//!
//! Whoever calls never connects: the keeper does, looks every second whether the server still answers, and replaces a
//! connection that somebody found broken. While it tries, callers wait, within their time; once a try has failed,
//! they get an error at once, until one succeeds.
//! See `docs/adr/0005-multiplex-redis-connections.md`, `0018` and `0021`.

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

use super::call::{Call, Peer};
use super::eviction::Eviction;
use super::scripts;
use super::servers::Servers;

/// How long a call may take, waiting for a connection included: a login is told within two seconds.
const ANSWER_LIMIT: Duration = Duration::from_millis(1_500);

/// How long making a connection may take, all the way to the first answer.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// How long the keeper rests after a failed try.
const RETRY_AFTER: Duration = Duration::from_millis(250);

/// How often the keeper looks whether the server still answers.
const BEAT: Duration = Duration::from_secs(1);

/// How often the keeper looks whether the servers evict keys.
const LOOK_AFTER: Duration = Duration::from_secs(60);

/// How soon it looks again if that could not be learned yet: until then the instance is not ready.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// A connection that any number of callers use at once.
#[derive(Clone)]
pub(super) enum Connection {
    /// To one server.
    One(MultiplexedConnection),
    /// To all nodes of a cluster.
    Cluster(ClusterConnection),
}

impl Connection {
    async fn query<T: FromRedisValue>(&mut self, command: &Cmd) -> RedisResult<T> {
        match self {
            Self::One(connection) => command.query_async(connection).await,
            Self::Cluster(connection) => command.query_async(connection).await,
        }
    }

    async fn run<T: FromRedisValue>(&mut self, call: &Call, peer: &Peer<'_>) -> RedisResult<T> {
        match self.query(&call.by_hash(peer)).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                self.query(&call.in_full(peer)).await
            }
            result => result,
        }
    }
}

/// A connection, and where it leads.
#[derive(Clone)]
struct Established {
    /// Distinguishes a connection that was found broken from its successor.
    number: u64,
    connection: Connection,
    /// The server that it was made to, as `server_id` in `common.lua` gives it; of a cluster, the node of the birth.
    server: Arc<str>,
}

#[derive(Clone)]
enum Line {
    /// The first try, or the first since the connection was lost, is not over yet.
    Trying,
    /// The last try failed.
    Down(Arc<str>),
    /// Connected.
    Up(Established),
}

/// Whom to connect to, and what is noted there.
struct Whom {
    servers: Servers,
    birth_key: String,
    clock: Arc<dyn Clock>,
    eviction: Eviction,
    /// The server that a connection of this process was last made to: where connections made later begin.
    last: Mutex<Arc<str>>,
}

impl Whom {
    fn last(&self) -> MutexGuard<'_, Arc<str>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn peer<'a>(&self, server: &'a str) -> Peer<'a> {
        Peer { server, set_clock: (!self.clock.is_machine()).then(|| self.clock.now()) }
    }
}

/// The connections to some servers: one for each runtime that calls, so that no command and no answer crosses from one
/// thread to another.
pub(super) struct Links {
    whom: Arc<Whom>,
    links: Mutex<HashMap<Id, Arc<Link>>>,
}

impl Links {
    /// Connects. Gives what is wrong if the first try fails.
    pub(super) async fn open(servers: Servers, birth_key: String, clock: Arc<dyn Clock>) -> Result<Self, String> {
        let whom = Whom { servers, birth_key, clock, eviction: Eviction::default(), last: Mutex::new("".into()) };
        let links = Self { whom: Arc::new(whom), links: Mutex::default() };
        links.here().first().await?;
        Ok(links)
    }

    /// What is wrong with how the servers evict keys, if anything is, as last seen.
    pub(super) fn eviction(&self) -> Option<String> {
        self.whom.eviction.defect()
    }

    /// The connection of the runtime that this is called on.
    pub(super) fn here(&self) -> Arc<Link> {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(links.entry(Handle::current().id()).or_insert_with(|| Arc::new(Link::start(&self.whom))))
    }
}

/// A handle to the keeper's connection. The keeper ends with it.
pub(super) struct Link {
    whom: Arc<Whom>,
    line: watch::Receiver<Line>,
    broken: mpsc::UnboundedSender<u64>,
    keeper: AbortHandle,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl Link {
    /// Starts a keeper on the runtime that this is called on.
    fn start(whom: &Arc<Whom>) -> Self {
        let (line_out, line) = watch::channel(Line::Trying);
        let (broken, broken_in) = mpsc::unbounded_channel();
        let server = Arc::clone(&whom.last());
        let keeper = Keeper { whom: Arc::clone(whom), line: line_out, broken: broken_in, server };
        Self { whom: Arc::clone(whom), line, broken, keeper: tokio::spawn(keeper.keep()).abort_handle() }
    }

    /// Waits for the first try; gives what is wrong if it fails.
    async fn first(&self) -> Result<(), String> {
        let mut line = self.line.clone();
        let first = line.wait_for(|line| !matches!(line, Line::Trying)).await;
        match first.map(|line| line.clone()) {
            Ok(Line::Down(cause)) => Err(cause.to_string()),
            Ok(_) => Ok(()),
            Err(_) => Err("the runtime is ending".to_owned()),
        }
    }

    /// Has a script run.
    pub(super) async fn run<T: FromRedisValue>(&self, call: &Call) -> Result<T> {
        self.with(async |to: &mut Established| to.connection.run(call, &self.whom.peer(&to.server)).await).await
    }

    /// Has a command run.
    pub(super) async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T> {
        self.with(async |to: &mut Established| to.connection.query(command).await).await
    }

    async fn with<T>(&self, work: impl AsyncFnOnce(&mut Established) -> RedisResult<T>) -> Result<T> {
        let mut used = None;
        let answer = timeout(ANSWER_LIMIT, async {
            let mut established = self.established().await?;
            used = Some(established.number);
            Ok(work(&mut established).await)
        });
        let (error, lost) = match answer.await {
            Ok(Ok(Ok(answer))) => return Ok(answer),
            Ok(Ok(Err(error))) => {
                let lost = is_lost(&error);
                (failure(error), lost)
            }
            Ok(Err(unconnected)) => return Err(unconnected),
            Err(late) => (Error::unavailable(late), true),
        };
        if let (true, Some(number)) = (lost, used) {
            // A keeper that is gone has nothing to replace.
            let _ = self.broken.send(number);
        }
        Err(error)
    }

    async fn established(&self) -> Result<Established> {
        let mut line = self.line.clone();
        let line = line.wait_for(|line| !matches!(line, Line::Trying)).await.map_err(Error::unavailable)?;
        match &*line {
            Line::Up(established) => Ok(established.clone()),
            Line::Down(cause) => Err(Error::unavailable(cause.to_string())),
            Line::Trying => Err(Error::unavailable("not connected")),
        }
    }
}

/// Whether a connection on which this happened should be replaced: it is gone, or leads to a server that does not
/// take writes (any more), as after a failover, or to another one than it was made to (`common.lua` says so).
fn is_lost(error: &RedisError) -> bool {
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
fn failure(error: RedisError) -> Error {
    match error.kind() {
        ErrorKind::UnexpectedReturnType
        | ErrorKind::Server(ServerErrorKind::ResponseError | ServerErrorKind::CrossSlot) => Error::internal(error),
        _ => Error::unavailable(error),
    }
}

struct Keeper {
    whom: Arc<Whom>,
    line: watch::Sender<Line>,
    broken: mpsc::UnboundedReceiver<u64>,
    /// The server that it was last connected to; empty before the first. Another one has a new birth, whatever its
    /// record says: that may be from before it was frozen or cut off, and replaced.
    server: Arc<str>,
}

impl Keeper {
    async fn keep(mut self) {
        let mut number = 0;
        loop {
            match timeout(CONNECT_LIMIT, self.connect()).await {
                Ok(Ok(connection)) => {
                    number += 1;
                    if number > 1 {
                        tracing::info!(servers = %self.whom.servers, "state store: connected again");
                    }
                    let established = Established { number, connection, server: Arc::clone(&self.server) };
                    self.line.send_replace(Line::Up(established.clone()));
                    let cause = self.watch(established).await;
                    tracing::warn!(servers = %self.whom.servers, cause, "state store: connection lost");
                    self.line.send_replace(Line::Trying);
                }
                Ok(Err(error)) => self.rest(&error.to_string()).await,
                Err(_) => self.rest("no answer").await,
            }
        }
    }

    async fn rest(&self, cause: &str) {
        let was = self.line.send_replace(Line::Down(cause.into()));
        if !matches!(was, Line::Down(_)) {
            tracing::warn!(servers = %self.whom.servers, cause, "state store: cannot connect");
        }
        tokio::time::sleep(RETRY_AFTER).await;
    }

    /// Connects, and has the server note its birth if it came up empty or is another one: before any login gets there.
    async fn connect(&mut self) -> RedisResult<Connection> {
        let mut connection = self.whom.servers.connect().await?;
        self.beat(&mut connection).await?;
        self.whom.eviction.look(&mut connection).await;
        Ok(connection)
    }

    async fn beat(&mut self, connection: &mut Connection) -> RedisResult<()> {
        let call = Call::new(&scripts::BIRTH).key(self.whom.birth_key.clone());
        let (_, server): (i64, String) = connection.run(&call, &self.whom.peer(&self.server)).await?;
        if *self.server != *server {
            self.server = server.into();
            *self.whom.last() = Arc::clone(&self.server);
        }
        Ok(())
    }

    /// Returns when the connection is no longer good, with the reason.
    async fn watch(&mut self, mut to: Established) -> String {
        let mut looked = Instant::now();
        loop {
            match timeout(BEAT, self.broken.recv()).await {
                Ok(Some(broken)) if broken == to.number => return "a call failed".to_owned(),
                Ok(Some(_)) => continue,
                // The link is gone, and this task is about to be ended.
                Ok(None) => return "closed".to_owned(),
                Err(_) => {}
            }
            match timeout(ANSWER_LIMIT, self.beat(&mut to.connection)).await {
                Ok(Ok(())) if self.server == to.server => {}
                Ok(Ok(())) => return "it leads to another server".to_owned(),
                Ok(Err(error)) => return error.to_string(),
                Err(_) => return "no answer".to_owned(),
            }
            let rest = if self.whom.eviction.is_known() { LOOK_AFTER } else { LOOK_AGAIN_AFTER };
            if looked.elapsed() >= rest {
                looked = Instant::now();
                // On a new connection: the client of a cluster asks no master that was away when it connected.
                if let Ok(Ok(mut fresh)) = timeout(ANSWER_LIMIT, self.whom.servers.connect()).await {
                    self.whom.eviction.look(&mut fresh).await;
                }
            }
        }
    }
}
