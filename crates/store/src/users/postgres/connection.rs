//! A PostgreSQL connection before diesel takes it over: one attempt to connect, and what kind of server answers.

use std::error::Error;
use std::fmt;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};
use tokio::sync::oneshot;
use tokio_postgres::config::TargetSessionAttrs;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config, Connection, SimpleQueryMessage, Socket};

use super::cancel::{Canceler, ServerSocket};
use super::with_sources;
use crate::users::pool::ConnectionSlot;
use crate::users::tls::PostgresTlsConnector;

/// A client, and the connection that it needs polled, in its slot.
pub(in crate::users) struct RawConnection {
    pub(in crate::users) client: Client,
    pub(in crate::users) connection: ServerConnection,
    pub(in crate::users) canceler: Canceler,
    pub(in crate::users) slot: ConnectionSlot,
    /// The number of the selection of a host that it belongs to.
    pub(in crate::users) selection: u64,
}

pub(in crate::users) type ServerConnection =
    Connection<Socket, <PostgresTlsConnector as MakeTlsConnect<Socket>>::Stream>;

/// The history of writes that a primary continues. A promotion starts the next timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Timeline {
    /// The identifier of the database cluster, which a primary and its standbys have in common.
    pub(super) system: String,
    pub(super) number: u32,
}

/// A connection that has the required attributes.
pub(super) struct Connected {
    pub(super) connection: RawConnection,
    /// `None` if it was not asked for, on a standby, or if the server does not disclose it.
    pub(super) timeline: Option<Timeline>,
}

/// Why an attempt to connect failed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ConnectError {
    /// No complete handshake and answer within this time.
    Timeout(Duration),
    /// No slot became free: the host has not let go of connections that were given up.
    NoFreeSlot,
    /// The server answers, but has not the required attributes.
    Unsuitable(String),
    /// The connection or the login failed.
    Failed(String),
}

impl ConnectError {
    /// Whether the host may hang.
    pub(super) fn is_unresponsive(&self) -> bool {
        matches!(self, Self::Timeout(_) | Self::NoFreeSlot)
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout(limit) => write!(f, "no answer within {} s", limit.as_secs_f32()),
            Self::NoFreeSlot => f.write_str("has not let go of earlier connections"),
            Self::Unsuitable(cause) | Self::Failed(cause) => f.write_str(cause),
        }
    }
}

/// One attempt to connect.
pub(super) struct ConnectionAttempt {
    /// With one host.
    pub(super) config: Config,
    pub(super) tls: PostgresTlsConnector,
    pub(super) socket: ServerSocket,
    pub(super) server_name: String,
    pub(super) required: TargetSessionAttrs,
    /// For all of it: connecting, TLS, login and the check of the attributes.
    pub(super) limit: Duration,
}

impl ConnectionAttempt {
    /// Connects in a task of its own, which holds the slot even when the caller has stopped waiting: the server may have
    /// accepted the connection. A connection without a caller is closed.
    pub(super) async fn run(self, slot: ConnectionSlot) -> Result<Connected, ConnectError> {
        let (sender, receiver) = oneshot::channel();
        let limit = self.limit;
        tokio::spawn(async move {
            let connected = tokio::time::timeout(limit, self.connect(slot)).await;
            drop(sender.send(connected.unwrap_or(Err(ConnectError::Timeout(limit)))));
        });
        receiver.await.unwrap_or_else(|_| Err(ConnectError::Failed("the connection attempt was ended".to_owned())))
    }

    async fn connect(self, slot: ConnectionSlot) -> Result<Connected, ConnectError> {
        let Self { config, tls, socket, server_name, required, .. } = self;
        let connected = config.connect(tls.clone()).await;
        let (client, connection) = connected.map_err(|e| ConnectError::Failed(with_sources(&e)))?;
        let canceler = Canceler { token: client.cancel_token(), socket, server_name, tls };
        check_attributes(RawConnection { client, connection, canceler, slot, selection: 0 }, required).await
    }
}

async fn check_attributes(
    mut connection: RawConnection,
    required: TargetSessionAttrs,
) -> Result<Connected, ConnectError> {
    if required == TargetSessionAttrs::Any {
        return Ok(Connected { connection, timeline: None });
    }
    let (read_only, timeline) =
        connection.read_role().await.map_err(|e| ConnectError::Failed(with_sources(e.as_ref())))?;
    match (required, read_only) {
        (TargetSessionAttrs::ReadWrite, true) => Err(ConnectError::Unsuitable("is read-only".to_owned())),
        (TargetSessionAttrs::ReadOnly, false) => Err(ConnectError::Unsuitable("is not read-only".to_owned())),
        _ => Ok(Connected { connection, timeline }),
    }
}

type QueryError = Box<dyn Error + Send + Sync>;

/// `pg_control_checkpoint()` has the timeline, too, but that of the last checkpoint: after a promotion it is the former
/// timeline for up to minutes.
const READ_ROLE: &str = "SELECT current_setting('transaction_read_only'), system_identifier, \
                         CASE WHEN NOT pg_is_in_recovery() THEN pg_walfile_name(pg_current_wal_lsn()) END \
                         FROM pg_control_system()";

impl RawConnection {
    /// Whether transactions are read-only, and the timeline of a primary.
    async fn read_role(&mut self) -> Result<(bool, Option<Timeline>), QueryError> {
        let row = match self.query_row(READ_ROLE).await {
            // Functions that the user may not execute, or that a compatible server does not have.
            Err(error) if is_database_error(&error) => self.query_row("SHOW transaction_read_only").await?,
            row => row?,
        };
        let read_only = row.first() == Some(&Some("on".to_owned()));
        let timeline = match row.as_slice() {
            [_, Some(system), Some(wal_file)] => parse_timeline(system, wal_file),
            _ => None,
        };
        Ok((read_only, timeline))
    }

    /// Runs a statement by the simple query protocol, which prepares nothing, and returns its first row.
    pub(super) async fn query_row(&mut self, sql: &str) -> Result<Vec<Option<String>>, QueryError> {
        let query = pin!(self.client.simple_query(sql));
        let messages = match select(query, &mut self.connection).await {
            Either::Left((messages, _)) => messages?,
            Either::Right((closed, _)) => {
                closed?;
                return Err("the server closed the connection".into());
            }
        };
        let row = messages.into_iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        let row = row.ok_or("the server returned no row")?;
        (0..row.len()).map(|column| Ok(row.try_get(column)?.map(str::to_owned))).collect()
    }
}

fn is_database_error(error: &QueryError) -> bool {
    error.downcast_ref::<tokio_postgres::Error>().is_some_and(|e| e.as_db_error().is_some())
}

/// The name of a WAL file starts with the timeline: eight hexadecimal digits.
fn parse_timeline(system: &str, wal_file: &str) -> Option<Timeline> {
    let number = u32::from_str_radix(wal_file.get(..8)?, 16).ok()?;
    Some(Timeline { system: system.to_owned(), number })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timeline_is_read_from_the_name_of_a_wal_file() {
        let timeline = |wal_file| parse_timeline("7", wal_file).map(|timeline| timeline.number);
        assert_eq!(timeline("0000001A0000000000000003"), Some(26));
        assert_eq!((timeline("0000001"), timeline("xyz000010000000000000003")), (None, None));
    }
}
