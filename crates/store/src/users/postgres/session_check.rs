//! Detects a connection pooler that gives consecutive transactions of a client different sessions of the server.
//!
//! Prepared statements and settings belong to a session, and Stele relies on both: behind such a pooler (PgBouncer in
//! transaction or statement mode) calls fail or hit the settings of other clients.

use std::time::Duration;

use futures_util::future::join_all;

use super::PostgresServer;
use super::connection::RawConnection;
use crate::users::pool::ConnectionSlots;

/// How many other connections the first is compared with. Of three connections two share a pooler, even if a load
/// balancer distributes them among two.
const OTHER_CONNECTIONS: usize = 2;

/// How long the check waits for another connection, which a pooler in session mode may not have.
const OTHER_CONNECTION_LIMIT: Duration = Duration::from_secs(1);

/// How often each connection is asked again. Statements of other clients may hide the pooler once.
const ROUNDS: usize = 2;

/// Identifies the session: while it lasts, no other one has this process of this server.
const SESSION_ID: &str = "SELECT pg_backend_pid(), pg_postmaster_start_time()";

type SessionId = Vec<Option<String>>;

/// Why [`PostgresServer::connect_checked`] returns no connection.
pub(in crate::users) enum CheckedConnectError {
    /// Connections share sessions.
    SharedSessions,
    /// The server cannot be reached, or rejects the login.
    Unreachable(String),
}

impl From<String> for CheckedConnectError {
    fn from(cause: String) -> Self {
        Self::Unreachable(cause)
    }
}

struct Session {
    connection: RawConnection,
    id: SessionId,
}

impl Session {
    async fn open(server: &PostgresServer, slots: &ConnectionSlots) -> Result<Self, String> {
        let mut connection = server.connect_raw(slots).await?;
        let id = read_session_id(&mut connection).await?;
        Ok(Self { connection, id })
    }
}

async fn read_session_id(connection: &mut RawConnection) -> Result<SessionId, String> {
    connection.query_row(SESSION_ID).await.map_err(|e| super::with_sources(e.as_ref()))
}

impl PostgresServer {
    /// Connects in one of `slots`, and checks that connections do not share sessions. The caller sets the timeout. Uses
    /// two more connections meanwhile, and leaves nothing behind.
    pub(in crate::users) async fn connect_checked(
        &self,
        slots: &ConnectionSlots,
    ) -> Result<RawConnection, CheckedConnectError> {
        let first = Session::open(self, slots).await?;
        let other_slots = ConnectionSlots::new(OTHER_CONNECTIONS);
        // A transaction has ended on the first connection: a pooler gives its session to the next client, or it gives
        // the first connection another one that is idle for longer.
        let open_other = |_| tokio::time::timeout(OTHER_CONNECTION_LIMIT, Session::open(self, &other_slots));
        let others = join_all((0..OTHER_CONNECTIONS).map(open_other)).await;
        let mut sessions = vec![first];
        sessions.extend(others.into_iter().filter_map(|opened| opened.ok()?.ok()));
        if sessions.len() == 1 {
            tracing::warn!("PostgreSQL: no second connection, so whether a pooler shares sessions is not checked");
        }
        if have_shared_sessions(&mut sessions).await? {
            return Err(CheckedConnectError::SharedSessions);
        }
        Ok(sessions.swap_remove(0).connection)
    }
}

/// Whether two of the connections have had the same session, or one has had two.
async fn have_shared_sessions(sessions: &mut [Session]) -> Result<bool, String> {
    for (index, session) in sessions.iter().enumerate() {
        if sessions[..index].iter().any(|other| other.id == session.id) {
            return Ok(true);
        }
    }
    for _ in 0..ROUNDS {
        for session in &mut *sessions {
            if read_session_id(&mut session.connection).await? != session.id {
                return Ok(true);
            }
        }
    }
    Ok(false)
}
