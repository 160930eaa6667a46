//! A PostgreSQL connection and the task that drives it: the task cancels what is abandoned, holds the connection's slot
//! until the server has let go of it, and notes commits that a synchronous standby has not confirmed.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use diesel::{ConnectionError, ConnectionResult};
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection as _};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};
use tokio_postgres::AsyncMessage;

use super::slots::ConnectionSlot;
use crate::users::postgres::{Canceler, RawConnection, ServerConnection, with_sources};

/// How long a connection that was given up holds its slot if the server does not answer. A server that runs has ended
/// the statement by then (`statement_timeout`, 8 s).
const RELEASE_TIMEOUT: Duration = Duration::from_secs(10);

/// Interval of the cancel requests for a connection that was given up: each cancels one of its pipelined statements.
const CANCEL_INTERVAL: Duration = Duration::from_millis(100);

/// How long after the end of its client a connection is closed without a cancel request: it only has to free its
/// prepared statements, unless a statement runs.
const CLOSE_DELAY: Duration = Duration::from_millis(20);

/// Timeout of sending a cancel request, which needs a connection of its own.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(1);

/// How long the server may take to end its process of a connection that was closed.
const EXIT_DELAY: Duration = Duration::from_millis(100);

/// The keepalives end a connection after 25 s without an answer; the systems' defaults are hours. The warnings show
/// commits that no standby has confirmed ([`SYNC_REPLICATION_ROUTINE`]), which settings of the server may hide.
const SERVER_LIMITS: &str = "SET statement_timeout = '8s'; SET idle_in_transaction_session_timeout = '15s'; \
                             SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; \
                             SET tcp_keepalives_count = 3; SET client_min_messages = 'warning'";

/// Ends a running statement within a second after its client has disconnected.
const CLIENT_CHECK: &str = "SET client_connection_check_interval = '1s'";

/// How long a server that runs again takes to notice that its client has disconnected: [`CLIENT_CHECK`].
const ABORT_DELAY: Duration = Duration::from_millis(1_500);

/// The function of PostgreSQL that warns when a commit no longer waits for a synchronous standby.
const SYNC_REPLICATION_ROUTINE: &str = "SyncRepWaitForLSN";

/// A connection. When it is dropped, its running statement is canceled.
pub(in crate::users) struct PostgresConnection {
    // Dropped before `control`, whose end means to the driver that no statement follows.
    client: AsyncPgConnection,
    control: ConnectionControl,
    checks_clients: ChecksClients,
    selection: u64,
}

/// Whether the server can check, while a statement runs, that its client is still connected (PostgreSQL 14).
#[derive(Clone, Copy, PartialEq, Eq)]
enum ChecksClients {
    Yes,
    No,
}

impl ChecksClients {
    fn by_version(server_version: Option<&str>) -> Self {
        let digits = server_version.and_then(|version| version.split(|c: char| !c.is_ascii_digit()).next());
        match digits.and_then(|digits| digits.parse::<u32>().ok()) {
            Some(14..) => Self::Yes,
            _ => Self::No,
        }
    }
}

/// What the driver of a connection has seen, and cancel requests to it.
pub(in crate::users) struct ConnectionControl {
    state: Arc<DriverState>,
    cancel_requests: mpsc::UnboundedSender<()>,
}

#[derive(Default)]
struct DriverState {
    has_ended: AtomicBool,
    has_unconfirmed_commit: AtomicBool,
    end_cause: OnceLock<String>,
}

impl PostgresConnection {
    /// Starts the driver of a new connection, on this runtime.
    pub(in crate::users) fn start(raw: RawConnection) -> impl Future<Output = ConnectionResult<Self>> {
        let RawConnection { client, connection, canceler, slot, selection } = raw;
        let (cancel_requests, receiver) = mpsc::unbounded_channel();
        let state = Arc::new(DriverState::default());
        let checks_clients = ChecksClients::by_version(connection.parameter("server_version"));
        let driver = Driver { connection, canceler, state: EndGuard(Arc::clone(&state)), _slot: slot };
        tokio::spawn(driver.run(receiver));
        async move {
            let client = AsyncPgConnection::try_from(client).await?;
            Ok(Self { client, control: ConnectionControl { state, cancel_requests }, checks_clients, selection })
        }
    }

    /// Sets limits at the server, which release the locks and the connection of an instance that has disappeared.
    pub(in crate::users) async fn set_server_limits(&self) -> ConnectionResult<()> {
        let (mut limits, mut optional) = (&self.client, &self.client);
        let optional_limits = async {
            if self.checks_clients == ChecksClients::Yes {
                // Not possible on every platform.
                drop(optional.batch_execute(CLIENT_CHECK).await);
            }
        };
        let (limited, ()) = tokio::join!(limits.batch_execute(SERVER_LIMITS), optional_limits);
        limited.map_err(ConnectionError::CouldntSetupConfiguration)
    }

    /// The number of the selection of its host.
    pub(in crate::users) fn selection(&self) -> u64 {
        self.selection
    }

    /// The driver's connection, for pipelined statements.
    pub(in crate::users) fn client(&self) -> &AsyncPgConnection {
        &self.client
    }

    /// The driver's connection, and its control.
    pub(in crate::users) fn parts(&mut self) -> (&mut AsyncPgConnection, &ConnectionControl) {
        (&mut self.client, &self.control)
    }

    /// Separates the driver's connection from its control, which must be dropped after it.
    pub(in crate::users) fn into_parts(self) -> (AsyncPgConnection, ConnectionControl) {
        (self.client, self.control)
    }

    /// Whether the connection can be used: it has not ended and is in no transaction.
    pub(super) fn is_usable(&mut self) -> bool {
        use diesel_async::TransactionManager as _;
        type Transactions = <AsyncPgConnection as diesel_async::AsyncConnection>::TransactionManager;
        !self.control.has_ended() && !Transactions::is_broken_transaction_manager(&mut self.client)
    }

    /// Whether the server answers on this connection.
    pub(super) async fn answers(&mut self) -> bool {
        !self.control.has_ended() && self.client.batch_execute("").await.is_ok()
    }
}

impl ConnectionControl {
    /// Asks the server to cancel the running statement. Does not wait.
    pub(super) fn request_cancel(&self) {
        // An ended connection needs none.
        let _ = self.cancel_requests.send(());
    }

    fn has_ended(&self) -> bool {
        self.state.has_ended.load(Ordering::Acquire)
    }

    /// Whether a commit was answered that no synchronous standby has confirmed, since the last call of this method.
    pub(super) fn take_unconfirmed_commit(&self) -> bool {
        let unconfirmed = &self.state.has_unconfirmed_commit;
        unconfirmed.load(Ordering::Acquire) && unconfirmed.swap(false, Ordering::AcqRel)
    }

    /// Why the connection ended: the driver's message is only that it did.
    pub(super) fn end_cause(&self) -> Option<&str> {
        self.state.end_cause.get().map(String::as_str)
    }
}

/// Sets `has_ended` when the driver ends, also with its runtime.
struct EndGuard(Arc<DriverState>);

impl Drop for EndGuard {
    fn drop(&mut self) {
        self.0.has_ended.store(true, Ordering::Release);
    }
}

/// Sends a cancel request (PostgreSQL's `CancelRequest`).
async fn cancel(canceler: Canceler) {
    // Without an effect the statement ends by its own limit, and the next request is sent after an interval.
    let sent = timeout(CANCEL_TIMEOUT, canceler.cancel()).await;
    if let Err(cause) = sent.unwrap_or_else(|e| Err(e.to_string())) {
        tracing::debug!(cause, "a statement could not be canceled");
    }
}

struct Driver {
    // Dropped before the slot.
    connection: ServerConnection,
    canceler: Canceler,
    state: EndGuard,
    _slot: ConnectionSlot,
}

/// How a connection ended.
enum End {
    ClosedByServer,
    ClosedByClient,
}

impl Driver {
    async fn run(mut self, mut cancel_requests: mpsc::UnboundedReceiver<()>) {
        let end = loop {
            tokio::select! {
                biased;
                end = self.drive() => break Some(end),
                request = cancel_requests.recv() => match request {
                    Some(()) => drop(tokio::spawn(cancel(self.canceler.clone()))),
                    None => break timeout(RELEASE_TIMEOUT, self.close()).await.ok(),
                }
            }
        };
        let Self { connection, state, _slot, .. } = self;
        drop((connection, state));
        match end {
            Some(End::ClosedByServer) => {}
            Some(End::ClosedByClient) => sleep(EXIT_DELAY).await,
            None => sleep(ABORT_DELAY).await,
        }
    }

    /// Sends and receives until the connection ends.
    async fn drive(&mut self) -> End {
        loop {
            match poll_fn(|context| self.connection.poll_message(context)).await {
                Some(Ok(AsyncMessage::Notice(notice))) => {
                    if notice.routine() == Some(SYNC_REPLICATION_ROUTINE) {
                        self.state.0.has_unconfirmed_commit.store(true, Ordering::Release);
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    let _ = self.state.0.end_cause.set(with_sources(&error));
                    return End::ClosedByServer;
                }
                None => return End::ClosedByClient,
            }
        }
    }

    /// Ends a connection without a client: the driver closes it once every statement was answered. Until then, each
    /// running statement is canceled.
    async fn close(&mut self) -> End {
        let canceler = self.canceler.clone();
        let cancel_repeatedly = async move {
            let mut ticks = interval_at(Instant::now() + CLOSE_DELAY, CANCEL_INTERVAL);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                // In a task of its own, because it must not be dropped: PgBouncer 1.18 then ends a new client instead.
                let _ = tokio::spawn(cancel(canceler.clone())).await;
            }
        };
        tokio::select! {
            biased;
            end = self.drive() => end,
            () = cancel_repeatedly => End::ClosedByClient,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ChecksClients;

    #[test]
    fn servers_before_postgresql_14_check_no_clients() {
        for (version, expected) in [
            (Some("14.0"), true),
            (Some("15.5 (Debian 15.5-0+deb12u1)"), true),
            (Some("16beta1"), true),
            (Some("13.18"), false),
            (Some("9.6.24"), false),
            (Some("unknown"), false),
            (None, false),
        ] {
            assert_eq!(ChecksClients::by_version(version) == ChecksClients::Yes, expected, "{version:?}");
        }
    }
}
