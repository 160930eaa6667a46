//! A call to PostgreSQL: its timeouts, the cancellation of what takes too long, and whether its outcome is known.

use std::fmt;
use std::pin::pin;
use std::time::Duration;

use diesel::QueryResult;
use diesel::result::{DatabaseErrorKind, Error as DbError};
use stele_core::{Error, Result};
use tokio::time::{Instant, timeout, timeout_at};

use super::connection::ConnectionControl;
use super::postgres_pool::{ConnectionPool, PooledConnection};

/// Timeouts of a PostgreSQL query.
#[derive(Clone, Copy)]
pub(in crate::users) struct QueryTimeouts {
    /// For obtaining a connection, from the pool or new.
    pub(in crate::users) connection: Duration,
    /// For the whole call, including the connection, until its statement is canceled.
    pub(in crate::users) call: Duration,
}

/// Timeouts of most queries, which end within 1.5 s in all ([`CANCEL_GRACE`]): a login fails within two seconds when
/// the server is unreachable.
pub(in crate::users) const POSTGRES_TIMEOUTS: QueryTimeouts =
    QueryTimeouts { connection: Duration::from_millis(1_250), call: Duration::from_millis(1_250) };

/// Timeouts of queries that read or change many rows: longer than the server's `statement_timeout` of 8 s.
pub(in crate::users) const SLOW_QUERY_TIMEOUTS: QueryTimeouts =
    QueryTimeouts { call: Duration::from_secs(9), ..POSTGRES_TIMEOUTS };

/// How long a canceled statement may take to end, so that its outcome is known.
const CANCEL_GRACE: Duration = Duration::from_millis(250);

/// Time for the check whether a connection survived an error, and at least for the lookup of a change.
pub(super) const LOOKUP_TIMEOUT: Duration = Duration::from_millis(250);

/// Why a call has no outcome.
pub(in crate::users) enum CallError {
    /// Nothing was changed.
    Failed(Error),
    /// The change may be applied, now or later.
    OutcomeUnknown(UnknownOutcome),
}

/// A write whose outcome is unknown.
pub(in crate::users) struct UnknownOutcome {
    pub(super) cause: UnknownCause,
    /// Deadline of looking the change up.
    pub(in crate::users) lookup_deadline: Instant,
}

/// Why the outcome of a write is unknown.
#[derive(Debug)]
pub(super) enum UnknownCause {
    /// The connection ended without a message of the server.
    ConnectionLost(String),
    /// The server ended the connection with this message. What waited for a synchronous standby is committed.
    ConnectionEnded(String),
    /// The server did not answer, and the statement was canceled.
    NoAnswer,
    /// The change is committed on the primary, and the wait for a synchronous standby was canceled.
    NotReplicated,
}

impl fmt::Display for UnknownCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ConnectionLost(cause) => write!(f, "the connection was lost: {cause}"),
            Self::ConnectionEnded(cause) => write!(f, "the server ended the connection: {cause}"),
            Self::NoAnswer => f.write_str("the server did not answer in time"),
            Self::NotReplicated => f.write_str("committed on the primary, but not confirmed by a synchronous standby"),
        }
    }
}

impl From<CallError> for Error {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Failed(error) => error,
            CallError::OutcomeUnknown(UnknownOutcome { cause, .. }) => {
                Self::unavailable(format!("{cause}; whether a change was made is unknown"))
            }
        }
    }
}

/// The answer to a statement.
pub(in crate::users) struct Answer<T> {
    outcome: QueryResult<T>,
    has_timed_out: bool,
}

/// A call with its deadlines.
pub(in crate::users) struct Call {
    timeouts: QueryTimeouts,
    deadline: Instant,
}

impl Call {
    pub(in crate::users) fn start(timeouts: QueryTimeouts) -> Self {
        Self { timeouts, deadline: Instant::now() + timeouts.call }
    }

    /// Checks a connection out of `pool`.
    pub(in crate::users) async fn checkout(&self, pool: &ConnectionPool) -> Result<PooledConnection, CallError> {
        let limit = self.timeouts.connection.min(self.timeouts.call);
        let checked_out = timeout(limit, pool.checkout()).await.unwrap_or_else(|elapsed| {
            pool.close_idle();
            Err(Error::unavailable(elapsed))
        });
        checked_out.map_err(CallError::Failed)
    }

    /// Runs a query body. At the deadline its statement is canceled; then the body has a short time to end.
    pub(in crate::users) async fn run<T>(
        &self,
        control: &ConnectionControl,
        body: impl Future<Output = QueryResult<T>>,
    ) -> Result<Answer<T>, CallError> {
        let mut body = pin!(body);
        if let Ok(outcome) = timeout_at(self.deadline, &mut body).await {
            return Ok(Answer { outcome, has_timed_out: false });
        }
        control.request_cancel();
        match timeout(CANCEL_GRACE, body).await {
            Ok(outcome) => Ok(Answer { outcome, has_timed_out: true }),
            Err(_) => Err(self.unknown(UnknownCause::NoAnswer)),
        }
    }

    /// Returns the connection to its pool, unless a cancel request may still reach it, and decides whether the outcome
    /// is known.
    pub(in crate::users) async fn finish<T>(
        &self,
        mut pooled: PooledConnection,
        answer: Answer<T>,
    ) -> Result<QueryResult<T>, CallError> {
        let Answer { outcome, has_timed_out } = answer;
        match &outcome {
            Ok(_) => {
                let (_, control) = pooled.parts().map_err(CallError::Failed)?;
                if control.take_unconfirmed_commit() {
                    return Err(self.unknown(UnknownCause::NotReplicated));
                }
            }
            Err(error) if may_end_connection(error) => {
                self.check_connection(&mut pooled, error).await?;
                if has_timed_out {
                    let error = "the statement was canceled, because it took too long; nothing was changed";
                    return Err(CallError::Failed(Error::unavailable(error)));
                }
            }
            Err(_) => {}
        }
        if !has_timed_out && !is_read_only(&outcome) {
            pooled.release();
        }
        Ok(outcome)
    }

    /// After an error: the server has rolled back what it reports on a connection that it continues.
    async fn check_connection(&self, pooled: &mut PooledConnection, error: &DbError) -> Result<(), CallError> {
        let connection = pooled.get().map_err(CallError::Failed)?;
        if timeout(LOOKUP_TIMEOUT, connection.answers()).await.unwrap_or(false) {
            return Ok(());
        }
        let (_, control) = connection.parts();
        if control.take_unconfirmed_commit() {
            return Err(self.unknown(UnknownCause::NotReplicated));
        }
        let cause = match control.end_cause() {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        };
        Err(self.unknown(match error {
            DbError::DatabaseError(DatabaseErrorKind::UnableToSendCommand, _) => UnknownCause::ConnectionLost(cause),
            _ => UnknownCause::ConnectionEnded(cause),
        }))
    }

    fn unknown(&self, cause: UnknownCause) -> CallError {
        let lookup_deadline = self.deadline.max(Instant::now() + LOOKUP_TIMEOUT);
        CallError::OutcomeUnknown(UnknownOutcome { cause, lookup_deadline })
    }
}

/// Whether the server no longer accepts writes: a new connection may lead to one that does.
fn is_read_only<T>(outcome: &QueryResult<T>) -> bool {
    matches!(outcome, Err(DbError::DatabaseError(DatabaseErrorKind::ReadOnlyTransaction, _)))
}

/// Whether an error may have ended the connection, so that it says nothing about a commit. The others are answers to
/// statements that were rolled back.
fn may_end_connection(error: &DbError) -> bool {
    matches!(
        error,
        DbError::DatabaseError(
            DatabaseErrorKind::Unknown
                | DatabaseErrorKind::UnableToSendCommand
                | DatabaseErrorKind::ClosedConnection
                | DatabaseErrorKind::SerializationFailure,
            _
        ) | DbError::RollbackErrorOnCommit { .. }
            | DbError::BrokenTransactionManager
    )
}
